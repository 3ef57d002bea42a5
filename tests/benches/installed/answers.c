/* The least that a socket unit can start: it takes one connection on descriptor 3, reads the heads of
 * two requests that have no body, answers with the bytes of the file that it was told, waits until
 * the client has closed, and ends. What this takes is systemd's and the client's, and no agent's. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words) {
    static char asked[65536], answer[1 << 20];
    if (count < 2) return 2;
    int file = open(words[1], O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, answer, sizeof answer);
    int stream = accept(3, NULL, NULL);
    if (length < 0 || stream < 0) return 1;
    int newlines = 0, heads = 0;
    while (heads < 2) {
        ssize_t got = read(stream, asked, sizeof asked);
        if (got <= 0) return 1;
        for (ssize_t at = 0; at < got; at++) {
            if (asked[at] == '\r') continue;
            newlines = asked[at] == '\n' ? newlines + 1 : 0;
            if (newlines == 2) heads++, newlines = 0;
        }
    }
    for (ssize_t at = 0; at < length;) {
        ssize_t put = write(stream, answer + at, length - at);
        if (put <= 0) return 1;
        at += put;
    }
    while (read(stream, asked, sizeof asked) > 0) {}
    return 0;
}
