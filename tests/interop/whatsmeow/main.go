// Command peer-whatsmeow drives an unmodified whatsmeow with the line protocol of tests/interop/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// A command is one line of standard input; which members count depends on Cmd.
type command struct {
	Cmd      string   `json:"cmd"`
	URL      string   `json:"url"`
	RootKey  string   `json:"root_key"`
	CAFile   string   `json:"ca_file"`
	StateDir string   `json:"state_dir"`
	Version  []uint32 `json:"version"`
	To       string   `json:"to"`
	Text     string   `json:"text"`
	ID       string   `json:"id"`
	Chat     string   `json:"chat"`
	IDs      []string `json:"ids"`
	Sender   string   `json:"sender"`
	State    string   `json:"state"`
}

// An event is one line of standard output.
type event map[string]any

var output struct {
	sync.Mutex
	*json.Encoder
}

func emit(name string, members event) {
	line := event{"event": name}
	for key, value := range members {
		line[key] = value
	}
	output.Lock()
	defer output.Unlock()
	_ = output.Encode(line)
}

func fail(cmd command, err error) {
	emit("error", event{"cmd": cmd.Cmd, "reason": err.Error()})
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "bridge" {
		if err := runBridge(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bridge:", err)
			os.Exit(1)
		}
		return
	}
	output.Encoder = json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var peer *peer
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 64*1024), 4*1024*1024)
	for lines.Scan() {
		var cmd command
		if err := json.Unmarshal(lines.Bytes(), &cmd); err != nil {
			fail(cmd, err)
			continue
		}
		if cmd.Cmd == "stop" {
			break
		}
		if cmd.Cmd == "start" {
			if peer != nil {
				fail(cmd, fmt.Errorf("already started"))
				continue
			}
			started, err := start(ctx, cmd)
			if err != nil {
				emit("closed", event{"reason": err.Error(), "final": true})
				continue
			}
			peer = started
			continue
		}
		if peer == nil {
			fail(cmd, fmt.Errorf("not started"))
			continue
		}
		peer.run(ctx, cmd)
	}
	if peer != nil {
		peer.stop()
	}
	emit("stopped", nil)
}
