// Command listen prints the notifications of one user, and reconnects when the connection ends.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

const (
	pingInterval = 30 * time.Second
	silenceMax   = 40 * time.Second // a ping is answered within a round trip: after that long the connection is dead
	dialTimeout  = 10 * time.Second
	delayMin     = 1 * time.Second
	delayMax     = 30 * time.Second
	frameMax     = 1 << 20 // bytes; a notification with 64 KiB of data is more than the library reads by default
)

var (
	apiURL       = cmp.Or(os.Getenv("HERMES_API_URL"), "http://127.0.0.1:8080")
	socketURL    = strings.Replace(apiURL, "http", "ws", 1) + "/ws/notifications"
	tokenCommand = cmp.Or(os.Getenv("HERMES_TOKEN_COMMAND"), "hermes token --user 123")
	retryMs      = regexp.MustCompile(`retry_ms=(\d+)`)
)

type frame struct {
	Channel string `json:"channel"`
	ID      string `json:"id"`
	Title   string `json:"title"`
	Message string `json:"message"`
	Type    string `json:"type"`
}

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := listen(ctx); ctx.Err() == nil {
		log.Fatalf("rejected: %v", err)
	}
}

// listen receives until ctx ends or Hermes rejects this client for good; it returns the reason.
func listen(ctx context.Context) error {
	client := client{}
	delay := delayMin
	newTokenRejected := false
	for ctx.Err() == nil {
		worked, err := client.connect(ctx)
		if worked {
			delay, newTokenRejected = delayMin, false
		}
		log.Printf("disconnected: %v", err)
		var closed websocket.CloseError
		errors.As(err, &closed)
		if closed.Code == websocket.StatusPolicyViolation {
			if newTokenRejected || !strings.HasPrefix(closed.Reason, "token_") {
				return errors.New(closed.Reason)
			}
			client.token, newTokenRejected = "", true
			continue
		}
		sleep(ctx, wait(closed.Reason, delay))
		delay = min(delay*2, delayMax)
	}
	return ctx.Err()
}

// wait returns what Hermes asks for, else a random part of the delay: clients must not return all at once.
func wait(reason string, delay time.Duration) time.Duration {
	if asked := retryMs.FindStringSubmatch(reason); asked != nil {
		ms, _ := strconv.Atoi(asked[1])
		return time.Duration(ms) * time.Millisecond
	}
	return delay/2 + rand.N(delay/2)
}

func sleep(ctx context.Context, wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// client has the token that the next connection uses; empty if it needs a new one.
type client struct{ token string }

// connect opens one connection and receives until it ends.
func (c *client) connect(ctx context.Context) (worked bool, err error) {
	if c.token == "" {
		if c.token, err = newToken(ctx); err != nil {
			return false, fmt.Errorf("no token: %w", err)
		}
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	options := &websocket.DialOptions{Subprotocols: []string{"hermes.v1", c.token}}
	conn, _, err := websocket.Dial(dialCtx, socketURL, options)
	if err != nil {
		return false, err
	}
	defer conn.Close(websocket.StatusNormalClosure, "")
	conn.SetReadLimit(frameMax)
	return receive(ctx, conn)
}

// newToken returns what the token command prints.
func newToken(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "sh", "-c", tokenCommand)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(output))
	if token == "" {
		return "", errors.New("the command printed nothing")
	}
	return token, nil
}

// receive prints what arrives until the connection ends; it worked if at least one frame arrived.
func receive(ctx context.Context, conn *websocket.Conn) (worked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go sendPings(ctx, conn)
	for {
		readCtx, cancel := context.WithTimeout(ctx, silenceMax)
		_, data, err := conn.Read(readCtx)
		cancel()
		if err != nil {
			return worked, err
		}
		if !worked {
			log.Print("connected")
		}
		worked = true
		if err := handle(ctx, conn, data); err != nil {
			return worked, err
		}
	}
}

// sendPings sends a ping at once and then every 30 s, until ctx or the connection ends.
func sendPings(ctx context.Context, conn *websocket.Conn) {
	for ctx.Err() == nil {
		if conn.Write(ctx, websocket.MessageText, []byte(`{"action":"ping"}`)) != nil {
			return
		}
		sleep(ctx, pingInterval)
	}
}

// handle prints and acknowledges a notification; it ignores every other frame.
func handle(ctx context.Context, conn *websocket.Conn, data []byte) error {
	var received frame
	if err := json.Unmarshal(data, &received); err != nil {
		return err
	}
	if received.Channel != "notifications" {
		return nil
	}
	fmt.Printf("%s %q: %q\n", received.Type, received.Title, received.Message)
	ack, err := json.Marshal(map[string]string{"action": "ack", "notification_id": received.ID})
	if err != nil {
		return err
	}
	conn.Write(ctx, websocket.MessageText, ack) // if it fails, the next Read returns the reason
	return nil
}
