package main

// The bridge of tests/interop/bridges: many accounts in one process, behind the two routes of a server.

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

type bridgeSettings struct {
	URL      string `json:"url"`
	CAFile   string `json:"ca_file"`
	RootKey  string `json:"root_key"`
	Control  string `json:"control"`
	Listen   string `json:"listen"`
	StateDir string `json:"state_dir"`
	Accounts int    `json:"accounts"`
	Keeps    string `json:"keeps"`
}

type bridge struct {
	settings  bridgeSettings
	transport *http.Client
	db        *sql.DB
	container *sqlstore.Container
	clients   []*whatsmeow.Client
	readers   struct {
		sync.Mutex
		all map[chan []byte]struct{}
	}
}

const (
	startedAtOnce = 16
	startPatience = 30 * time.Second
)

// runBridge serves until it is told to end.
func runBridge(text string) error {
	b := &bridge{}
	b.readers.all = map[chan []byte]struct{}{}
	if err := json.Unmarshal([]byte(text), &b.settings); err != nil {
		return err
	}
	if err := b.open(context.Background()); err != nil {
		return err
	}
	http.HandleFunc("GET /v1/events", b.serveEvents)
	http.HandleFunc("POST /v1/messages", b.serveMessages)
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(b.settings.Listen, nil))
		os.Exit(1)
	}()
	fmt.Println("ready")
	if err := b.startAll(context.Background()); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	for _, client := range b.clients {
		client.Disconnect()
	}
	return b.db.Close()
}

// open makes one file for all accounts; whatsmeow's tables and one row a message.
func (b *bridge) open(ctx context.Context) error {
	if err := trustRoot(b.settings.RootKey); err != nil {
		return err
	}
	var err error
	if b.transport, err = redirect(b.settings.URL, b.settings.CAFile); err != nil {
		return err
	}
	if err := os.MkdirAll(b.settings.StateDir, 0o700); err != nil {
		return err
	}
	level := "NORMAL"
	if b.settings.Keeps == "full" {
		level = "FULL"
	}
	file := filepath.Join(b.settings.StateDir, "whatsmeow.db")
	b.db, err = sql.Open("sqlite", "file:"+file+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(20000)"+
		"&_pragma=journal_mode(WAL)&_pragma=synchronous("+level+")&_txlock=immediate")
	if err != nil {
		return err
	}
	b.container = sqlstore.NewWithDB(b.db, "sqlite", newLog())
	if err := b.container.Upgrade(ctx); err != nil {
		return err
	}
	_, err = b.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS message (account INTEGER, chat TEXT, id TEXT, at INTEGER,
		text TEXT, raw BLOB, PRIMARY KEY (account, chat, id)) WITHOUT ROWID`)
	return err
}

// accountNumber is what tools/load calls the i-th account.
func accountNumber(i int) string { return fmt.Sprintf("1555%07d", 1000000+i) }

func (b *bridge) startAll(ctx context.Context) error {
	devices, err := b.container.GetAllDevices(ctx)
	if err != nil {
		return err
	}
	known := map[string]*store.Device{}
	for _, device := range devices {
		known[device.ID.User] = device
	}
	b.clients = make([]*whatsmeow.Client, b.settings.Accounts)
	turns := make(chan struct{}, startedAtOnce)
	var all sync.WaitGroup
	for i := range b.clients {
		device := known[accountNumber(i)]
		if device == nil {
			device = b.container.NewDevice()
		}
		turns <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			b.start(ctx, i, device)
			<-turns
		}()
	}
	all.Wait()
	return nil
}

// start returns when the account is logged in.
func (b *bridge) start(ctx context.Context, i int, device *store.Device) {
	client := whatsmeow.NewClient(device, newLog())
	client.SetWebsocketHTTPClient(b.transport)
	client.SetPreLoginHTTPClient(b.transport)
	client.SynchronousAck = true
	b.clients[i] = client
	opened := make(chan struct{})
	var once sync.Once
	client.AddEventHandler(func(raw any) {
		switch evt := raw.(type) {
		case *events.Connected:
			once.Do(func() { close(opened) })
		case *events.QR:
			if err := b.scan(i, evt.Codes[0]); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		case *events.Message:
			b.onMessage(ctx, i, evt)
		}
	})
	for {
		if err := client.Connect(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		select {
		case <-opened:
			return
		case <-time.After(startPatience):
			client.Disconnect() // a code that nobody scanned in time
		}
	}
}

func (b *bridge) scan(i int, code string) error {
	body, err := json.Marshal(map[string]string{"qr": code})
	if err != nil {
		return err
	}
	answer, err := http.Post("http://"+b.settings.Control+"/phones/"+accountNumber(i)+"/scan", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		return fmt.Errorf("scan of %s: %d %s", accountNumber(i), answer.StatusCode, text)
	}
	return err
}

// onMessage stores, then hands over; whatsmeow acknowledges when it has returned.
func (b *bridge) onMessage(ctx context.Context, i int, evt *events.Message) {
	text := evt.Message.GetConversation()
	if text == "" {
		text = evt.Message.GetExtendedTextMessage().GetText()
	}
	if text == "" || evt.Info.IsFromMe {
		return
	}
	raw, err := proto.Marshal(evt.Message)
	if err == nil {
		_, err = b.db.ExecContext(ctx, "INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?, ?)",
			i, evt.Info.Chat.String(), evt.Info.ID, evt.Info.Timestamp.Unix(), text, raw)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "not stored:", err)
		return
	}
	b.publish(map[string]any{"event": "message.received",
		"data": map[string]string{"chat_id": fmt.Sprintf("%d/%s", i, evt.Info.Chat), "text": text}})
}

func (b *bridge) publish(members map[string]any) {
	text, err := json.Marshal(members)
	if err != nil {
		return
	}
	frame := fmt.Appendf(nil, "data: %s\n\n", text)
	b.readers.Lock()
	defer b.readers.Unlock()
	for reader := range b.readers.all {
		reader <- frame
	}
}

func (b *bridge) serveEvents(answer http.ResponseWriter, request *http.Request) {
	frames := make(chan []byte, 4096)
	b.readers.Lock()
	b.readers.all[frames] = struct{}{}
	b.readers.Unlock()
	defer func() {
		b.readers.Lock()
		delete(b.readers.all, frames)
		b.readers.Unlock()
	}()
	answer.Header().Set("Content-Type", "text/event-stream")
	flusher := answer.(http.Flusher)
	flusher.Flush()
	for {
		select {
		case frame := <-frames:
			if _, err := answer.Write(frame); err != nil {
				return
			}
			flusher.Flush()
		case <-request.Context().Done():
			return
		}
	}
}

func (b *bridge) serveMessages(answer http.ResponseWriter, request *http.Request) {
	var wanted struct {
		ChatID string `json:"chat_id"`
		Text   string `json:"text"`
	}
	err := json.NewDecoder(request.Body).Decode(&wanted)
	if err == nil {
		err = b.sendText(request.Context(), wanted.ChatID, wanted.Text)
	}
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(answer, `{"status":"sent"}`)
}

// sendText returns when the server has acknowledged.
func (b *bridge) sendText(ctx context.Context, chatID, text string) error {
	account, chat, found := strings.Cut(chatID, "/")
	i, err := strconv.Atoi(account)
	if err != nil || !found || i < 0 || i >= len(b.clients) {
		return fmt.Errorf("no chat %q", chatID)
	}
	to, err := types.ParseJID(chat)
	if err != nil {
		return err
	}
	_, err = b.clients[i].SendMessage(ctx, to.ToNonAD(), &waE2E.Message{Conversation: proto.String(text)},
		whatsmeow.SendRequestExtra{Timeout: ackTimeout})
	return err
}
