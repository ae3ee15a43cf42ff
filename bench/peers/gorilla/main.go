// Command gorilla serves /echo and /broadcast with gorilla/websocket, the usual way: /echo answers in the
// loop that reads; /broadcast has the well-known hub, a goroutine that owns the set of clients, and for each
// client a read pump, a write pump and a channel of 256 messages between hub and write pump. A client whose
// channel is full is dropped.
//
// What is tuned: a message for all is a PreparedMessage, framed once; pooled write buffers; the read buffer
// that net/http has anyway; messages are read into a buffer that each loop keeps. Queued messages are
// written one frame each, never joined into one message: a client has to receive what was sent. The runtime
// takes as many processors as the process may run on (GOMAXPROCS=1 when it is pinned to one core).
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	maxMessageBytes = 1 << 20
	queued          = 256
	writeWait       = 10 * time.Second
	pongWait        = 60 * time.Second
	pingPeriod      = 54 * time.Second
)

type client struct {
	connection *websocket.Conn
	outgoing   chan *websocket.PreparedMessage
}

type hub struct {
	clients    map[*client]struct{}
	register   chan *client
	unregister chan *client
	broadcast  chan *websocket.PreparedMessage
}

func newHub() *hub {
	return &hub{
		clients:    make(map[*client]struct{}),
		register:   make(chan *client),
		unregister: make(chan *client),
		broadcast:  make(chan *websocket.PreparedMessage, queued),
	}
}

func (h *hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = struct{}{}
		case c := <-h.unregister:
			h.remove(c)
		case message := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.outgoing <- message:
				default:
					h.remove(c) // too slow
				}
			}
		}
	}
}

func (h *hub) remove(c *client) {
	if _, known := h.clients[c]; known {
		delete(h.clients, c)
		close(c.outgoing)
	}
}

func limit(connection *websocket.Conn) {
	connection.SetReadLimit(maxMessageBytes)
	connection.SetReadDeadline(time.Now().Add(pongWait))
	connection.SetPongHandler(func(string) error {
		return connection.SetReadDeadline(time.Now().Add(pongWait))
	})
}

// readMessage reads the next message into buffer, which is emptied first.
func readMessage(connection *websocket.Conn, buffer *bytes.Buffer) (kind int, err error) {
	kind, reader, err := connection.NextReader()
	if err != nil {
		return 0, err
	}
	buffer.Reset()
	_, err = buffer.ReadFrom(reader)
	return kind, err
}

func (c *client) readPump(h *hub) {
	defer func() {
		h.unregister <- c
		c.connection.Close()
	}()
	limit(c.connection)
	var buffer bytes.Buffer
	for {
		kind, err := readMessage(c.connection, &buffer)
		if err != nil {
			return
		}
		// The message outlives the buffer: it is still queued when the next one is read.
		message, err := websocket.NewPreparedMessage(kind, append([]byte(nil), buffer.Bytes()...))
		if err != nil {
			return
		}
		h.broadcast <- message
	}
}

func (c *client) writePump() {
	pings := time.NewTicker(pingPeriod)
	defer func() {
		pings.Stop()
		c.connection.Close()
	}()
	for {
		select {
		case message, open := <-c.outgoing:
			c.connection.SetWriteDeadline(time.Now().Add(writeWait))
			if !open {
				c.connection.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if c.connection.WritePreparedMessage(message) != nil {
				return
			}
			// What has queued up meanwhile goes out under the same deadline.
			for more := len(c.outgoing); more > 0; more-- {
				message, open = <-c.outgoing
				if !open || c.connection.WritePreparedMessage(message) != nil {
					return
				}
			}
		case <-pings.C:
			if c.connection.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)) != nil {
				return
			}
		}
	}
}

func echo(connection *websocket.Conn) {
	defer connection.Close()
	connection.SetReadLimit(maxMessageBytes)
	var buffer bytes.Buffer
	for {
		kind, err := readMessage(connection, &buffer)
		if err != nil {
			return
		}
		if connection.WriteMessage(kind, buffer.Bytes()) != nil {
			return
		}
	}
}

func main() {
	port := flag.Int("port", 0, "the port to listen on; 0 picks one")
	flag.Parse()

	upgrader := websocket.Upgrader{
		WriteBufferPool: &sync.Pool{},
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	everyone := newHub()
	go everyone.run()
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if connection, err := upgrader.Upgrade(w, r, nil); err == nil {
			// The handler returns, so that net/http lets go of the request.
			go echo(connection)
		}
	})
	http.HandleFunc("/broadcast", func(w http.ResponseWriter, r *http.Request) {
		connection, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{connection: connection, outgoing: make(chan *websocket.PreparedMessage, queued)}
		everyone.register <- c
		go c.writePump()
		go c.readPump(everyone)
	})

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port)) // TCP_NODELAY is Go's default
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ended
		os.Exit(0)
	}()
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
