/* The floor: a WebSocket server that does nothing but one send() of the finished frame for each message and socket.
 *
 * One thread, one epoll. WebSockets (RFC 6455) come to one port; each line received on the other is a message to all
 * of them. What a server must do beyond this, it costs on top of this. It prints "listening on PORT source PORT".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILES = 65536, EVENTS = 256, LINE_BYTES = 1 << 20, REQUEST_BYTES = 8192 };
enum role { FREE, LISTENER, SOURCE_LISTENER, NEWCOMER, MEMBER, SOURCE };

static enum role roles[FILES]; /* by file descriptor */
static char *requests[FILES];
static int members[FILES], places[FILES], count;
static int epoll;

/* -- SHA-1 (FIPS 180-4, 6.1) of a message below 120 bytes, for the accept key alone -- */

static uint32_t rotate(uint32_t word, int by) { return word << by | word >> (32 - by); }

static void block(uint32_t state[5], const unsigned char *data) {
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        words[i] = (uint32_t)data[4 * i] << 24 | data[4 * i + 1] << 16 | data[4 * i + 2] << 8 | data[4 * i + 3];
    for (int i = 16; i < 80; i++)
        words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        int stage = i / 20;
        uint32_t mixed = stage == 0 ? (b & c) | (~b & d) : stage == 2 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t next = rotate(a, 5) + mixed + e + constants[stage] + words[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

static void digest(const char *message, size_t size, unsigned char out[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char padded[128] = {0};
    size_t padded_size = size + 9 <= 64 ? 64 : 128;
    memcpy(padded, message, size);
    padded[size] = 0x80;
    padded[padded_size - 2] = size * 8 >> 8;
    padded[padded_size - 1] = size * 8 & 255;
    for (size_t at = 0; at < padded_size; at += 64)
        block(state, padded + at);
    for (int i = 0; i < 20; i++)
        out[i] = state[i / 4] >> (24 - 8 * (i % 4)) & 255;
}

static void accept_key(const char *key, size_t size, char out[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char joined[100];
    unsigned char hash[21] = {0};
    memcpy(joined, key, size);
    memcpy(joined + size, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    digest(joined, size + 36, hash);
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)hash[3 * i] << 16 | hash[3 * i + 1] << 8 | hash[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    out[27] = '='; /* 20 bytes are 27 letters */
    out[28] = 0;
}

/* -- sockets -- */

static void watch(int fd, enum role role) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    roles[fd] = role;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void drop(int fd) {
    if (roles[fd] == MEMBER) { /* the last takes its place */
        members[places[fd]] = members[--count];
        places[members[count]] = places[fd];
    }
    roles[fd] = FREE;
    free(requests[fd]);
    requests[fd] = NULL;
    close(fd);
}

static int listen_on_a_free_port(enum role role) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0) {
        perror("listen");
        exit(1);
    }
    getsockname(fd, (struct sockaddr *)&address, &size);
    watch(fd, role);
    return ntohs(address.sin_port);
}

static void accept_all(int listener, enum role role) {
    int yes = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (fd >= FILES)
            close(fd);
        else
            watch(fd, role);
    }
}

static void upgrade(int fd) {
    char *request = requests[fd] ? requests[fd] : (requests[fd] = calloc(1, REQUEST_BYTES + 1));
    size_t have = strlen(request);
    ssize_t got = recv(fd, request + have, REQUEST_BYTES - have, 0);
    if (got <= 0) {
        drop(fd);
        return;
    }
    if (!strstr(request, "\r\n\r\n"))
        return;
    char *key = strcasestr(request, "\r\nSec-WebSocket-Key:"), accepted[29], answer[256];
    if (!key) {
        drop(fd);
        return;
    }
    key += 20;
    key += strspn(key, " ");
    size_t size = strcspn(key, " \r");
    if (size > 60) {
        drop(fd);
        return;
    }
    accept_key(key, size, accepted);
    int length = sprintf(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: %s\r\n\r\n", accepted);
    send(fd, answer, length, MSG_NOSIGNAL);
    free(requests[fd]);
    requests[fd] = NULL;
    roles[fd] = MEMBER;
    places[fd] = count;
    members[count++] = fd;
}

/* Nothing is lost: if the kernel accepts only a part, this waits. */
static void send_rest(int fd, const unsigned char *data, size_t size) {
    while (size) {
        ssize_t took = send(fd, data, size, MSG_NOSIGNAL);
        if (took < 0 && errno != EAGAIN)
            return; /* reading will drop it */
        if (took < 0)
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
        else
            data += took, size -= took;
    }
}

static void broadcast(const char *message, size_t size) {
    static unsigned char frame[LINE_BYTES + 10];
    size_t head = size < 126 ? 2 : size < 65536 ? 4 : 10;
    frame[0] = 0x81;
    frame[1] = head == 2 ? size : head == 4 ? 126 : 127;
    for (size_t i = 2; i < head; i++)
        frame[i] = size >> 8 * (head - 1 - i) & 255;
    memcpy(frame + head, message, size);
    size += head;
    for (int i = 0; i < count; i++) {
        ssize_t took = send(members[i], frame, size, MSG_NOSIGNAL);
        if (took != (ssize_t)size)
            send_rest(members[i], frame + (took > 0 ? took : 0), size - (took > 0 ? took : 0));
    }
}

static void read_lines(int fd) { /* one source at a time */
    static char lines[LINE_BYTES];
    static size_t have;
    ssize_t got = recv(fd, lines + have, sizeof lines - have, 0);
    if (got <= 0) {
        have = 0;
        drop(fd);
        return;
    }
    have += got;
    char *at = lines, *end;
    while ((end = memchr(at, '\n', lines + have - at))) {
        broadcast(at, end - at);
        at = end + 1;
    }
    have -= at - lines;
    memmove(lines, at, have);
}

static void read_member(int fd) { /* incoming data is discarded */
    char ignored[4096];
    ssize_t got = recv(fd, ignored, sizeof ignored, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        drop(fd);
}

int main(void) {
    struct epoll_event events[EVENTS];
    epoll = epoll_create1(0);
    int port = listen_on_a_free_port(LISTENER), source_port = listen_on_a_free_port(SOURCE_LISTENER);
    printf("listening on %d source %d\n", port, source_port);
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            switch (roles[fd]) {
            case LISTENER: accept_all(fd, NEWCOMER); break;
            case SOURCE_LISTENER: accept_all(fd, SOURCE); break;
            case NEWCOMER: upgrade(fd); break;
            case MEMBER: read_member(fd); break;
            case SOURCE: read_lines(fd); break;
            case FREE: break;
            }
        }
    }
}
