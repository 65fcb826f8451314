// Package reach tells where the other user can get to that a server runs as.
package reach

import (
	"errors"
	"os"
	"path/filepath"
)

// Everybody tells whether every user can enter a directory, as far as there is one: what is made below it is for its
// maker to open.
func Everybody(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&0o001 == 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
