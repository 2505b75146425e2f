package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"
	_ "modernc.org/sqlite"
)

const (
	ackTimeout = 20 * time.Second
	retryPause = time.Second
)

type peer struct {
	client    *whatsmeow.Client
	container *sqlstore.Container
	stopped   chan struct{}
}

// start opens the state folder, points the client at the simulator and connects it. Only what can never work
// is an error; a refused connection is reported as `closed` and tried again.
func start(ctx context.Context, cmd command) (*peer, error) {
	if err := trustRoot(cmd.RootKey); err != nil {
		return nil, err
	}
	if len(cmd.Version) == 3 {
		store.SetWAVersion(store.WAVersionContainer{cmd.Version[0], cmd.Version[1], cmd.Version[2]})
	}
	transport, err := redirect(cmd.URL, cmd.CAFile)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cmd.StateDir, 0o700); err != nil {
		return nil, err
	}
	log := newLog()
	file := filepath.Join(cmd.StateDir, "whatsmeow.db")
	address := "file:" + file + "?_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
	container, err := sqlstore.New(ctx, "sqlite", address, log.Sub("Store"))
	if err != nil {
		return nil, err
	}
	device, err := container.GetFirstDevice(ctx)
	if err != nil {
		return nil, err
	}
	p := &peer{client: whatsmeow.NewClient(device, log), container: container, stopped: make(chan struct{})}
	p.client.SetWebsocketHTTPClient(transport)
	p.client.SetPreLoginHTTPClient(transport)
	p.client.AutoReconnectHook = func(err error) bool {
		emit("closed", event{"reason": err.Error(), "final": false})
		return true
	}
	p.client.AddEventHandler(p.onEvent)
	go p.connect(ctx)
	return p, nil
}

// connect tries until the first connection stands; from then on whatsmeow reconnects by itself.
func (p *peer) connect(ctx context.Context) {
	for {
		err := p.connectOnce(ctx)
		if err == nil {
			return
		}
		emit("closed", event{"reason": err.Error(), "final": false})
		select {
		case <-time.After(retryPause):
		case <-p.stopped:
			return
		}
	}
}

func (p *peer) connectOnce(ctx context.Context) error {
	if p.client.Store.ID != nil {
		return p.client.Connect()
	}
	codes, err := p.client.GetQRChannel(ctx)
	if err != nil {
		return err
	}
	if err := p.client.Connect(); err != nil {
		return err
	}
	go p.showCodes(ctx, codes)
	return nil
}

func (p *peer) showCodes(ctx context.Context, codes <-chan whatsmeow.QRChannelItem) {
	for item := range codes {
		switch item.Event {
		case whatsmeow.QRChannelEventCode:
			emit("qr", event{"qr": item.Code})
		case whatsmeow.QRChannelSuccess.Event:
		case whatsmeow.QRChannelTimeout.Event:
			emit("closed", event{"reason": "codes ran out or the link broke before pairing", "final": false})
			go p.connectLater(ctx)
		default:
			reason := item.Event
			if item.Error != nil {
				reason = item.Error.Error()
			}
			emit("closed", event{"reason": "pairing: " + reason, "final": true})
		}
	}
}

func (p *peer) connectLater(ctx context.Context) {
	select {
	case <-time.After(retryPause):
		p.connect(ctx)
	case <-p.stopped:
	}
}

func (p *peer) stop() {
	close(p.stopped)
	p.client.Disconnect()
	_ = p.container.Close()
}

func (p *peer) run(ctx context.Context, cmd command) {
	switch cmd.Cmd {
	case "send", "send_group":
		go p.send(ctx, cmd)
	case "read":
		go p.report(cmd, func() error { return p.read(ctx, cmd) })
	case "presence":
		go p.report(cmd, func() error { return p.presence(ctx, cmd) })
	case "logout":
		go p.report(cmd, func() error { return p.logout(ctx) })
	default:
		fail(cmd, fmt.Errorf("unknown command"))
	}
}

func (p *peer) report(cmd command, work func() error) {
	if err := work(); err != nil {
		fail(cmd, err)
	}
}

// address turns digits into a phone number's JID and leaves a full JID alone.
func address(text string) (types.JID, error) {
	if strings.Contains(text, "@") {
		return types.ParseJID(text)
	}
	return types.NewJID(text, types.DefaultUserServer), nil
}

func (p *peer) send(ctx context.Context, cmd command) {
	id := cmd.ID
	if id == "" {
		id = p.client.GenerateMessageID()
	}
	to, err := address(cmd.To)
	if err == nil {
		message := &waE2E.Message{Conversation: proto.String(cmd.Text)}
		_, err = p.client.SendMessage(ctx, to, message, whatsmeow.SendRequestExtra{ID: id, Timeout: ackTimeout})
	}
	sent := event{"id": id}
	if err != nil {
		sent["error"] = err.Error()
	}
	emit("sent", sent)
}

func (p *peer) read(ctx context.Context, cmd command) error {
	chat, err := address(cmd.Chat)
	if err != nil {
		return err
	}
	sender := chat
	if cmd.Sender != "" {
		if sender, err = address(cmd.Sender); err != nil {
			return err
		}
	}
	return p.client.MarkRead(ctx, cmd.IDs, time.Now(), chat, sender)
}

func (p *peer) presence(ctx context.Context, cmd command) error {
	state := types.Presence(cmd.State)
	if state == types.PresenceAvailable || state == types.PresenceUnavailable {
		// whatsmeow learns its push name from app state, which the simulator need not serve.
		if p.client.Store.PushName == "" {
			p.client.Store.PushName = "whatsmeow"
		}
		return p.client.SendPresence(ctx, state)
	}
	to, err := address(cmd.To)
	if err != nil {
		return err
	}
	return p.client.SendChatPresence(ctx, to, types.ChatPresence(cmd.State), types.ChatPresenceMediaText)
}

func (p *peer) logout(ctx context.Context) error {
	if err := p.client.Logout(ctx); err != nil {
		return err
	}
	emit("closed", event{"reason": "logged out", "final": true})
	return nil
}

func (p *peer) onEvent(raw any) {
	switch evt := raw.(type) {
	case *events.PairSuccess:
		emit("paired", event{"jid": evt.ID.String(), "lid": evt.LID.String()})
	case *events.Connected:
		emit("open", nil)
	case *events.Disconnected:
		emit("closed", event{"reason": "disconnected", "final": false})
	case events.PermanentDisconnect:
		emit("closed", event{"reason": evt.PermanentDisconnectDescription(), "final": true})
	case *events.StreamError:
		emit("closed", event{"reason": "stream error " + evt.Code, "final": false})
	case *events.Message:
		p.onMessage(evt)
	case *events.UndecryptableMessage:
		emit("undecryptable", event{"id": evt.Info.ID, "from": p.plain(evt.Info.Sender, evt.Info.SenderAlt)})
	case *events.Receipt:
		p.onReceipt(evt)
	}
}

// plain is the phone number's digits where one is known, else the JID without its device.
func (p *peer) plain(jid types.JID, others ...types.JID) string {
	for _, candidate := range append([]types.JID{jid}, others...) {
		if candidate.Server == types.DefaultUserServer {
			return candidate.User
		}
	}
	if jid.Server == types.HiddenUserServer {
		number, err := p.client.Store.LIDs.GetPNForLID(context.Background(), jid.ToNonAD())
		if err == nil && !number.IsEmpty() {
			return number.User
		}
	}
	return jid.ToNonAD().String()
}

func (p *peer) onMessage(evt *events.Message) {
	text := evt.Message.GetConversation()
	if text == "" {
		text = evt.Message.GetExtendedTextMessage().GetText()
	}
	if text == "" {
		return
	}
	// In a chat of two the other side's second address is the sender's or, for what we wrote, the recipient's.
	other := evt.Info.SenderAlt
	if evt.Info.IsFromMe {
		other = evt.Info.RecipientAlt
	}
	chat := p.plain(evt.Info.Chat, other)
	if evt.Info.IsGroup {
		chat = evt.Info.Chat.String()
	}
	emit("message", event{
		"id":      evt.Info.ID,
		"from":    p.plain(evt.Info.Sender, evt.Info.SenderAlt),
		"chat":    chat,
		"text":    text,
		"from_me": evt.Info.IsFromMe,
		"jid":     evt.Info.Sender.String(),
	})
}

func (p *peer) onReceipt(evt *events.Receipt) {
	kind := string(evt.Type)
	if kind == "" {
		kind = "delivery"
	}
	for _, id := range evt.MessageIDs {
		emit("receipt", event{"id": id, "type": kind, "from": p.plain(evt.Sender, evt.SenderAlt)})
	}
}

// newLog writes to standard error: everything when PEER_DEBUG is set, else warnings.
func newLog() waLog.Logger {
	level := "WARN"
	if os.Getenv("PEER_DEBUG") != "" {
		level = "DEBUG"
	}
	return stderrLog{module: "whatsmeow", debug: level == "DEBUG"}
}

type stderrLog struct {
	module string
	debug  bool
}

func (l stderrLog) line(level, format string, args []any) {
	fmt.Fprintf(os.Stderr, "%s %s %s: %s\n", time.Now().UTC().Format("15:04:05.000"), level, l.module, fmt.Sprintf(format, args...))
}

func (l stderrLog) Errorf(format string, args ...any) { l.line("error", format, args) }
func (l stderrLog) Warnf(format string, args ...any)  { l.line("warning", format, args) }
func (l stderrLog) Infof(format string, args ...any) {
	if l.debug {
		l.line("info", format, args)
	}
}
func (l stderrLog) Debugf(format string, args ...any) {
	if l.debug {
		l.line("debug", format, args)
	}
}
func (l stderrLog) Sub(module string) waLog.Logger {
	return stderrLog{module: l.module + "/" + module, debug: l.debug}
}
