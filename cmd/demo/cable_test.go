package main

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// echo answers every line with itself.
func echo(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go pipe(conn, conn)
		}
	}()
	return l.Addr().String()
}

func ask(t *testing.T, conn net.Conn) error {
	_, err := conn.Write([]byte("hello\n"))
	if err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil {
		require.Equal(t, "hello\n", got)
	}
	return err
}

func TestAPulledCableBreaksOldAndNewConnections(t *testing.T) {
	t.Parallel()
	c, err := newCable(echo(t))
	require.NoError(t, err)
	t.Cleanup(c.close)
	open := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url(), "http://"))
		if err != nil {
			return nil // the reset may overtake the dialling
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	old := open()
	require.NotNil(t, old)
	require.NoError(t, ask(t, old))

	c.pull()
	require.Error(t, ask(t, old))
	if late := open(); late != nil {
		require.Error(t, ask(t, late))
	}

	c.heal()
	again := open()
	require.NotNil(t, again)
	require.NoError(t, ask(t, again))
}
