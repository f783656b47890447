package camscan_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// withSize returns the head of a PNG, up to the end of its IHDR chunk, with
// another width and height in it (PNG specification, 11.2.2).
func withSize(head []byte, width, height uint32) []byte {
	head = bytes.Clone(head)
	binary.BigEndian.PutUint32(head[16:], width)
	binary.BigEndian.PutUint32(head[20:], height)
	binary.BigEndian.PutUint32(head[29:], crc32.ChecksumIEEE(head[12:29]))
	return head
}
