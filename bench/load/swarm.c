/* The load client: opens many WebSockets (RFC 6455) to a server on 127.0.0.1, publishes to the server through its
 * source, and receives on all of them: one thread, one epoll, one buffer for all reads.
 *
 * Written in C so that a delivered frame costs this program far less than any server: one recv() of up to 64 KiB
 * for many frames, and one pass from header to header (what a server sends is not masked). Of every frame that is not
 * deflated two numbers are read, "n": (the message's number, for order and loss) and "t": (when it was written, in
 * nanoseconds of CLOCK_MONOTONIC, for latency); they are looked for where they stood in the frame before.
 *
 * It prints "ready" once all sockets are open, begins when it can read a line (or the end) from standard input, and
 * ends with one line of JSON. bench/load/swarm.py starts it, and explains options and results.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 65536,
    LONGEST = 65536,      /* a longer frame is counted, not looked into */
    OPENING = 64,         /* handshakes at a time: below any server's backlog */
    EVENTS = 256,
    SOURCE_BYTES = 1 << 20, /* what is composed and not yet written */
    STEPS = 256,          /* of the histogram in each power of two, so that a value is off by 0.4 % at most */
};
static const int64_t SECOND = 1000000000;

enum kind { WEBSOCKET, PLAIN, SOURCE, INPUT };
enum state { UPGRADING, SUBSCRIBING, OPEN, GONE };
enum source { NONE, HTTP, LINE, MQTT };

struct tally { /* of the WebSockets together, or of the plain subscriber */
    int64_t histogram[64 * STEPS];
    int64_t timed, longest_ns, out_of_order;
};

struct peer {
    int fd;
    uint8_t kind, state;
    bool frozen;
    struct tally *tally;
    unsigned char *rest; /* the beginning of an incomplete frame */
    size_t rest_size, skip;
    int64_t frames, last, skipped;
};

/* -- options -- */
static int port, source_port, plain_port;
static int sockets = 1, frozen;
static enum source source_kind = NONE;
static const char *subscription = "", *post_path = "/", *body = "{\"n\":%n,\"t\":%t}";
static char headers[8192];
static char **paths, **topics;
static int path_count, topic_count;
static bool offer_deflate, mqtt_inside;
static int64_t planned = 1, window = 1;
static double rate, for_s = 60, grace_s = 5, thaw_after_s = -1;

/* -- state -- */
static unsigned char buffer[LONGEST + READ_BYTES + 16];
static struct peer *peers, plain = {.fd = -1}, source = {.fd = -1}, input = {.fd = 0, .kind = INPUT};
static struct tally all, plain_tally;
static int epoll, begun, opening, opened;
static bool going, thawed;
static int64_t sent, completed, *reached; /* reached[k]: sockets that have k messages */
static char *composed;
static size_t composed_size, composed_at;
static bool awaiting; /* the answer to an HTTP request */
static int64_t now_ns, start_ns, last_sent_ns, last_read_ns, latest_ns;
static int64_t received_bytes, reads, other, deflated, closed, cut, refused, agreed, gone, needed_gone;
static int close_code;

static void die(const char *format, ...) {
    va_list words;
    va_start(words, format);
    fputs("swarm: ", stdout);
    vprintf(format, words);
    putchar('\n');
    va_end(words);
    exit(1);
}

static int64_t clock_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * SECOND + at.tv_nsec;
}

static int64_t cpu_ns(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * SECOND +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000;
}

/* -- latency -- */

static int step_of(int64_t value) {
    if (value < STEPS)
        return value < 0 ? 0 : (int)value;
    int shift = 63 - __builtin_clzll(value) - 8;
    return (shift + 1) * STEPS + (int)((value >> shift) - STEPS);
}

static int64_t value_of(int step) {
    int shift = step / STEPS - 1;
    return shift < 0 ? step : (int64_t)(step % STEPS + STEPS) << shift;
}

static void record(struct tally *tally, int64_t latency_ns) {
    tally->histogram[step_of(latency_ns)]++;
    tally->timed++;
    if (latency_ns > tally->longest_ns)
        tally->longest_ns = latency_ns;
}

static int64_t percentile(const struct tally *tally, double percent) {
    int64_t rank = (int64_t)(tally->timed * percent / 100 + 0.999999), sum = 0;
    for (int step = 0; step < 64 * STEPS; step++)
        if ((sum += tally->histogram[step]) >= rank && sum)
            return value_of(step);
    return 0;
}

/* -- sockets -- */

static int connect_to(int to_port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to_port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0)
        die("no socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("cannot connect to port %d: %s", to_port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void watch(struct peer *peer, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll, operation, peer->fd, &event) < 0)
        die("epoll: %s", strerror(errno));
}

static void write_all(int fd, const void *data, size_t size) { /* small, and the peer is reading */
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        die("a socket does not take %zu bytes: %s", size, strerror(errno));
}

static void leave(struct peer *peer) {
    if (peer->state != OPEN)
        die("a socket was closed during the handshake");
    peer->state = GONE;
    close(peer->fd);
    gone++;
    if (!peer->frozen)
        needed_gone++;
}

/* -- MQTT 3.1.1, quality of service 0 -- */

static size_t mqtt_connect(unsigned char *out, int number) {
    unsigned char id[24];
    int id_size = sprintf((char *)id, "swarm-%d-%d", (int)(getpid() % 1000000), number);
    const unsigned char head[] = {0x10, (unsigned char)(12 + id_size), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, (unsigned char)id_size};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, id, id_size);
    return sizeof head + id_size;
}

static size_t mqtt_subscribe(unsigned char *out) {
    size_t size = strlen(subscription);
    const unsigned char head[] = {0x82, (unsigned char)(size + 5), 0, 1, 0, (unsigned char)size};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, subscription, size);
    out[sizeof head + size] = 0;
    return sizeof head + size + 1;
}

static size_t remaining_length(unsigned char *out, size_t length) {
    size_t used = 0;
    do {
        out[used] = length % 128 | (length > 127 ? 128 : 0);
        length /= 128;
        used++;
    } while (length);
    return used;
}

/* -- messages -- */

static void count(struct peer *peer) {
    peer->frames++;
    if (peer->kind == PLAIN || peer->frozen)
        return;
    last_read_ns = now_ns;
    if (peer->frames <= planned && ++reached[peer->frames] == sockets - frozen)
        completed = peer->frames;
}

/* The number after this key of four bytes, and where it ends; looks first where the key stood last time. */
static int64_t number_after(const char *key, size_t *hint, const unsigned char *data, size_t size, const unsigned char **end) {
    const unsigned char *at = data + *hint, *stop = data + size;
    if (*hint + 4 > size || memcmp(at, key, 4) != 0) {
        at = memmem(data, size, key, 4);
        if (!at)
            return -1;
        *hint = at - data;
    }
    for (at += 4; at < stop && *at == ' '; at++)
        ;
    int64_t value = 0;
    if (at == stop || *at < '0' || *at > '9')
        return -1;
    for (; at < stop && *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    *end = at;
    return value;
}

static void message(struct peer *peer, const unsigned char *data, size_t size) {
    static size_t n_hint, t_hint, skipped_hint;
    const unsigned char *rest = data;
    int64_t n = number_after("\"n\":", &n_hint, data, size, &rest);
    if (n < 0) { /* another kind of frame */
        other++;
        return;
    }
    if (n > peer->last)
        peer->last = n;
    else if (!peer->frozen) /* telemetry to a slow socket keeps the order of each series alone */
        peer->tally->out_of_order++;
    if (peer->frozen) {
        const unsigned char *at = memmem(data, size, "\"skipped\":", 10);
        if (at)
            peer->skipped += number_after("ed\":", &skipped_hint, at, size - (at - data), &at);
    } else {
        int64_t t = number_after("\"t\":", &t_hint, rest, size - (rest - data), &rest);
        if (t >= 0)
            record(peer->tally, now_ns - t);
    }
    count(peer);
}

/* Whole MQTT packets at the beginning of data; the answer is how many bytes they take. */
static size_t parse_packets(struct peer *peer, const unsigned char *data, size_t size) {
    size_t at = 0;
    while (size - at >= 2) {
        size_t length = 0, start = at + 1;
        int shift = 0;
        while (start < size && shift < 28) {
            length |= (size_t)(data[start] & 127) << shift;
            shift += 7;
            if (!(data[start++] & 128))
                goto whole;
        }
        break;
    whole:
        if (length > size - start)
            break;
        switch (data[at] & 0xf0) {
        case 0x20: /* CONNACK */
            if (data[start + 1] != 0)
                die("the broker refused a connection: %d", data[start + 1]);
            break;
        case 0x90: /* SUBACK */
            if (data[start + 2] > 2)
                die("the broker refused the subscription to %s", subscription);
            if (peer->state == SUBSCRIBING) {
                peer->state = OPEN;
                opened++;
                opening--;
            }
            break;
        case 0x30: { /* PUBLISH at quality 0: topic, payload */
            size_t topic = ((size_t)data[start] << 8 | data[start + 1]) + 2;
            message(peer, data + start + topic, length - topic);
            break;
        }
        }
        at = start + length;
    }
    return at;
}

static void close_frame(struct peer *peer, const unsigned char *payload, size_t size) {
    closed++;
    if (!close_code)
        close_code = size >= 2 ? payload[0] << 8 | payload[1] : 1005;
    leave(peer);
}

/* Whole WebSocket frames at the beginning of data; the answer is how many bytes they take. The hot loop. */
static size_t parse_frames(struct peer *peer, const unsigned char *data, size_t size) {
    size_t at = peer->skip < size ? peer->skip : size;
    peer->skip -= at;
    while (size - at >= 2) {
        size_t length = data[at + 1], start = at + 2;
        if (length == 126) {
            if (size - at < 4)
                break;
            length = (size_t)data[at + 2] << 8 | data[at + 3];
            start = at + 4;
        } else if (length == 127) {
            if (size - at < 10)
                break;
            length = 0;
            for (int digit = 2; digit < 10; digit++)
                length = length << 8 | data[at + digit];
            start = at + 10;
        } else if (length > 127)
            die("the server masks its frames");
        if (length > size - start) {
            if (length <= LONGEST)
                break;
            count(peer);
            other++;
            peer->skip = length - (size - start);
            return size;
        }
        const unsigned char *payload = data + start;
        switch (data[at]) {
        case 0x81:
            message(peer, payload, length);
            break;
        case 0x82:
            if (!mqtt_inside)
                message(peer, payload, length);
            else if (parse_packets(peer, payload, length) != length)
                die("an MQTT packet was split over WebSocket frames");
            break;
        case 0xc1:
        case 0xc2: /* deflated: nothing can be read of it */
            deflated++;
            count(peer);
            break;
        case 0x88:
            close_frame(peer, payload, length);
            return size;
        case 0x89: {
            unsigned char pong[6 + 125] = {0x8a, 0x80 | length}; /* masked with zeros */
            memcpy(pong + 6, payload, length);
            if (send(peer->fd, pong, 6 + length, MSG_NOSIGNAL) < 0) { /* the next read reports the error */
            }
            break;
        }
        case 0x8a:
            break;
        default:
            die("a frame of an unknown kind: 0x%02x", data[at]);
        }
        at = start + length;
    }
    return at;
}

/* -- handshakes -- */

static void open_more(void) {
    static char request[16384];
    for (; opening < OPENING && begun < sockets; begun++, opening++) {
        struct peer *peer = &peers[begun];
        *peer = (struct peer){.kind = WEBSOCKET, .tally = &all, .last = -1};
        /* the frozen ones stand evenly among the others */
        peer->frozen = (int64_t)(begun + 1) * frozen / sockets > (int64_t)begun * frozen / sockets;
        peer->fd = connect_to(port);
        watch(peer, EPOLL_CTL_ADD, EPOLLIN);
        int size = snprintf(request, sizeof request,
                            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
                            paths[begun % path_count], port,
                            offer_deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "",
                            mqtt_inside ? "Sec-WebSocket-Protocol: mqtt\r\n" : "");
        write_all(peer->fd, request, size);
    }
}

static size_t upgrade(struct peer *peer, const unsigned char *data, size_t size) {
    const unsigned char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (size < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0)
        die("the server refused a WebSocket: %.*s", (int)(size < 300 ? size : 300), data);
    for (const unsigned char *at = data; at < end; at++)
        agreed += *at == '\n' && strncasecmp((const char *)at + 1, "Sec-WebSocket-Extensions: permessage-deflate", 44) == 0;
    peer->state = OPEN;
    if (mqtt_inside) {
        unsigned char frame[512];
        size_t length = mqtt_connect(frame + 8, (int)(peer - peers));
        length += mqtt_subscribe(frame + 8 + length);
        if (length > 125) {
            memcpy(frame, (unsigned char[]){0x82, 0x80 | 126, length >> 8, length & 255, 0, 0, 0, 0}, 8);
            write_all(peer->fd, frame, 8 + length);
        } else {
            memcpy(frame + 2, (unsigned char[]){0x82, 0x80 | length, 0, 0, 0, 0}, 6);
            write_all(peer->fd, frame + 2, 6 + length);
        }
        peer->state = SUBSCRIBING;
    } else {
        opened++;
        opening--;
    }
    return end + 4 - data;
}

/* -- reading -- */

static void read_peer(struct peer *peer) {
    size_t size = peer->rest_size;
    memcpy(buffer, peer->rest, size);
    ssize_t got = recv(peer->fd, buffer + size, READ_BYTES, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (peer->kind == PLAIN)
            die("the broker closed the plain subscriber");
        cut++;
        leave(peer);
        return;
    }
    now_ns = clock_ns();
    received_bytes += got;
    reads++;
    size += got;
    size_t used = 0;
    if (peer->state == UPGRADING)
        used = upgrade(peer, buffer, size);
    if (peer->state != UPGRADING)
        used += peer->kind == PLAIN ? parse_packets(peer, buffer + used, size - used)
                                    : parse_frames(peer, buffer + used, size - used);
    if (peer->state == GONE)
        return;
    size -= used;
    if (size > LONGEST)
        die("an endless beginning of %zu bytes", size);
    if (size) {
        peer->rest = realloc(peer->rest, size);
        memcpy(peer->rest, buffer + used, size);
    }
    peer->rest_size = size;
    if (peer->frozen && !thawed && peer->state == OPEN)
        watch(peer, EPOLL_CTL_DEL, 0);
}

/* -- the source -- */

static size_t fill(char *out, const char *template, int64_t n, int64_t t) {
    char *at = out;
    for (; *template; template++) {
        if (template[0] == '%' && (template[1] == 'n' || template[1] == 't')) {
            at += sprintf(at, "%lld", (long long)(template[1] == 'n' ? n : t));
            template++;
        } else
            *at++ = *template;
    }
    return at - out;
}

static void flush_source(void) {
    while (composed_at < composed_size) {
        ssize_t took = send(source.fd, composed + composed_at, composed_size - composed_at, MSG_NOSIGNAL);
        if (took < 0) {
            if (errno == EAGAIN)
                break;
            die("the source closed: %s", strerror(errno));
        }
        composed_at += took;
    }
    bool left = composed_at < composed_size;
    static bool waits;
    if (left != waits)
        watch(&source, EPOLL_CTL_MOD, left ? EPOLLIN | EPOLLOUT : EPOLLIN);
    waits = left;
    if (!left)
        composed_size = composed_at = 0;
}

static void publish(void) {
    static char filled[SOURCE_BYTES / 2];
    last_sent_ns = clock_ns();
    size_t size = fill(filled, body, sent, last_sent_ns);
    char *out = composed;
    if (source_kind == HTTP) {
        out += sprintf(out, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sContent-Length: %zu\r\n\r\n", post_path, source_port, headers, size);
        awaiting = true;
    } else if (source_kind == MQTT) {
        const char *topic = topics[sent % topic_count];
        size_t topic_size = strlen(topic);
        *out++ = 0x30;
        out += remaining_length((unsigned char *)out, 2 + topic_size + size);
        *out++ = topic_size >> 8;
        *out++ = topic_size & 255;
        out = mempcpy(out, topic, topic_size);
    }
    out = mempcpy(out, filled, size);
    if (source_kind == LINE)
        *out++ = '\n';
    composed_size = out - composed;
    sent++;
    flush_source();
}

static void read_source(void) {
    static char answer[65536];
    static size_t size;
    ssize_t got = recv(source.fd, answer + size, sizeof answer - 1 - size, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (!got && refused && !awaiting) { /* a refusal may end the connection */
        watch(&source, EPOLL_CTL_DEL, 0);
        return;
    }
    if (got <= 0)
        die("the source closed%s%s", got ? ": " : "", got ? strerror(errno) : "");
    if (source_kind != HTTP)
        return;
    size += got;
    answer[size] = 0;
    char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "\r\ncontent-length:");
    if (!end)
        return;
    if (!length || length > end)
        die("an answer without its length: %s", answer);
    if (size < (size_t)(end + 4 - answer) + strtoul(length + 17, NULL, 10))
        return;
    if (answer[9] != '2' && !refused++)
        printf("swarm: the first refusal: %s\n", answer);
    size = 0;
    awaiting = false;
}

static void open_source(void) {
    source = (struct peer){.kind = SOURCE, .state = OPEN, .fd = connect_to(source_port)};
    composed = malloc(SOURCE_BYTES);
    if (source_kind == MQTT) {
        unsigned char packet[64], answer[4];
        write_all(source.fd, packet, mqtt_connect(packet, -1));
        fcntl(source.fd, F_SETFL, 0);
        if (recv(source.fd, answer, 4, MSG_WAITALL) != 4 || answer[3])
            die("the broker refused the publisher");
        fcntl(source.fd, F_SETFL, O_NONBLOCK);
    }
    watch(&source, EPOLL_CTL_ADD, EPOLLIN);
}

/* The plain subscriber is a peer like the others; its stream is MQTT itself. */
static void open_plain(void) {
    unsigned char packet[512];
    plain = (struct peer){.kind = PLAIN, .state = SUBSCRIBING, .fd = connect_to(plain_port), .tally = &plain_tally, .last = -1};
    watch(&plain, EPOLL_CTL_ADD, EPOLLIN);
    size_t size = mqtt_connect(packet, 0);
    write_all(plain.fd, packet, size + mqtt_subscribe(packet + size));
    opening++;
}

/* -- the run -- */

static bool source_is_free(void) { return !awaiting && !composed_size; }

static int64_t due_ns(void) { return start_ns + (int64_t)(sent * 1e9 / rate); }

static bool sending(int64_t at_ns) {
    return source_kind != NONE && sent < planned && at_ns < start_ns + (int64_t)(for_s * 1e9);
}

static void publish_what_is_due(void) {
    int64_t at_ns = clock_ns();
    while (sending(at_ns) && source_is_free()) {
        if (rate > 0) {
            if (due_ns() > at_ns)
                return;
            if (at_ns - due_ns() > latest_ns)
                latest_ns = at_ns - due_ns();
        } else if (sent - completed >= window)
            return;
        publish();
    }
}

static void thaw(void) {
    thawed = true;
    for (int i = 0; i < sockets; i++)
        if (peers[i].frozen && peers[i].state == OPEN)
            watch(&peers[i], EPOLL_CTL_ADD, EPOLLIN);
}

static bool frozen_have_all(void) {
    for (int i = 0; i < sockets; i++)
        if (peers[i].frozen && peers[i].state == OPEN && peers[i].frames + peers[i].skipped < sent)
            return false;
    return true;
}

static bool over(int64_t at_ns) {
    int64_t end_ns = start_ns + (int64_t)(for_s * 1e9), grace_ns = (int64_t)(grace_s * 1e9);
    bool deserted = gone == sockets && plain.fd < 0; /* nothing more can come */
    if (source_kind == NONE)
        return completed >= planned || deserted || at_ns > end_ns;
    if (sending(at_ns)) /* one at a time: a message that does not come to all ends it */
        return rate <= 0 && sent > completed && (needed_gone || at_ns > last_sent_ns + grace_ns);
    if (deserted)
        return true;
    if (frozen && !thawed)
        return false;
    if (completed >= sent && !awaiting && (plain.fd < 0 || plain.frames >= sent) && frozen_have_all())
        return true;
    int64_t thaw_ns = thawed ? start_ns + (int64_t)(thaw_after_s * 1e9) : 0;
    return at_ns > (last_sent_ns > thaw_ns ? last_sent_ns : thaw_ns) + grace_ns;
}

static void turn(int64_t wait_ns) {
    struct epoll_event events[EVENTS];
    if (wait_ns < 0)
        wait_ns = 0;
    struct timespec wait = {.tv_sec = wait_ns / SECOND, .tv_nsec = wait_ns % SECOND};
    int ready = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
    if (ready < 0 && errno != EINTR)
        die("epoll: %s", strerror(errno));
    for (int i = 0; i < ready; i++) {
        struct peer *peer = events[i].data.ptr;
        if (peer->kind == INPUT) {
            char line[64];
            if (read(0, line, sizeof line) >= 0)
                going = true;
        } else if (peer->kind == SOURCE) {
            if (events[i].events & EPOLLOUT)
                flush_source();
            if (events[i].events & ~EPOLLOUT)
                read_source();
        } else if (peer->state != GONE)
            read_peer(peer);
        if (start_ns)
            publish_what_is_due();
    }
}

static void open_all(void) {
    int64_t deadline_ns = clock_ns() + 60 * SECOND;
    int needed = sockets + (plain_port > 0);
    if (plain_port)
        open_plain();
    while (opened < needed) {
        open_more();
        turn(SECOND / 10);
        if (clock_ns() > deadline_ns)
            die("only %d of %d sockets opened in a minute", opened, needed);
    }
    if (source_kind != NONE)
        open_source();
}

static void wait_for_go(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &input};
    puts("ready");
    fflush(stdout);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event) < 0) /* a file has no waiting */
        return;
    while (!going)
        turn(SECOND);
    epoll_ctl(epoll, EPOLL_CTL_DEL, 0, NULL);
}

static void run(void) {
    int64_t thaw_ns = 0;
    now_ns = last_sent_ns = last_read_ns = start_ns = clock_ns();
    if (frozen)
        thaw_ns = start_ns + (int64_t)(thaw_after_s * 1e9);
    for (int64_t at_ns = start_ns; !over(at_ns); at_ns = clock_ns()) {
        if (frozen && !thawed && at_ns >= thaw_ns)
            thaw();
        publish_what_is_due();
        int64_t wait_ns = SECOND / 20;
        at_ns = clock_ns();
        if (rate > 0 && sending(at_ns) && source_is_free() && due_ns() - at_ns < wait_ns)
            wait_ns = due_ns() - at_ns;
        turn(wait_ns);
    }
}

static void report(int64_t open_ns, int64_t used_ns) {
    int64_t delivered = 0, lost = 0, surplus = 0, least = INT64_MAX, most = 0;
    int64_t late_frames = 0, late_skipped = 0, late_exact = 0, late_latest = 0, late_gone = 0;
    int64_t published = source_kind == NONE ? planned : sent;
    for (int i = 0; i < sockets; i++) {
        struct peer *peer = &peers[i];
        if (peer->frozen) {
            late_frames += peer->frames;
            late_skipped += peer->skipped;
            late_exact += peer->frames + peer->skipped == published;
            late_latest += peer->last == published - 1;
            late_gone += peer->state == GONE;
            continue;
        }
        delivered += peer->frames;
        lost += peer->frames < published ? published - peer->frames : 0;
        surplus += peer->frames > published ? peer->frames - published : 0;
        least = peer->frames < least ? peer->frames : least;
        most = peer->frames > most ? peer->frames : most;
    }
    struct { const char *name; int64_t value; } fields[] = {
        {"sockets", sockets}, {"messages", published}, {"delivered", delivered}, {"lost", lost},
        {"surplus", surplus}, {"least", least == INT64_MAX ? 0 : least}, {"most", most},
        {"out_of_order", all.out_of_order}, {"other", other}, {"deflated", deflated}, {"compressed_sockets", agreed},
        {"open_ns", open_ns}, {"wall_ns", last_read_ns - start_ns}, {"sending_ns", last_sent_ns - start_ns},
        {"late_ns", latest_ns}, {"cpu_ns", used_ns}, {"bytes_received", received_bytes}, {"reads", reads},
        {"p50_ns", percentile(&all, 50)}, {"p99_ns", percentile(&all, 99)}, {"longest_ns", all.longest_ns},
        {"timed", all.timed}, {"closed", closed}, {"cut", cut}, {"close_code", close_code}, {"refused", refused},
        {"plain_received", plain.frames}, {"plain_out_of_order", plain_tally.out_of_order},
        {"plain_p50_ns", percentile(&plain_tally, 50)}, {"plain_p99_ns", percentile(&plain_tally, 99)},
        {"plain_longest_ns", plain_tally.longest_ns},
        {"frozen", frozen}, {"frozen_received", late_frames}, {"frozen_skipped", late_skipped},
        {"frozen_exact", late_exact}, {"frozen_latest", late_latest}, {"frozen_gone", late_gone},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        printf("%s\"%s\": %lld", i ? ", " : "{", fields[i].name, (long long)fields[i].value);
    puts("}");
}

/* -- the command line -- */

static char **lines_of(const char *name, int *number) {
    FILE *file = fopen(name, "r");
    char **lines = NULL, *line = NULL;
    size_t room = 0;
    ssize_t size;
    if (!file)
        die("%s: %s", name, strerror(errno));
    while ((size = getline(&line, &room, file)) > 0) {
        if (line[size - 1] == '\n')
            line[size - 1] = 0;
        lines = realloc(lines, (*number + 1) * sizeof *lines);
        lines[(*number)++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (!*number)
        die("%s is empty", name);
    return lines;
}

static enum source source_named(const char *name) {
    static const char *names[] = {"none", "http", "line", "mqtt"};
    for (int kind = NONE; kind <= MQTT; kind++)
        if (strcmp(name, names[kind]) == 0)
            return kind;
    die("no source %s", name);
    return NONE;
}

static void parse(int argc, char **argv) {
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"sockets", 1, 0, 's'}, {"paths", 1, 0, 'P'}, {"deflate", 0, 0, 'd'},
        {"mqtt-inside", 0, 0, 'm'}, {"subscribe", 1, 0, 'S'}, {"plain-port", 1, 0, 'l'}, {"source", 1, 0, 'D'},
        {"source-port", 1, 0, 'q'}, {"post", 1, 0, 'o'}, {"header", 1, 0, 'H'}, {"body", 1, 0, 'b'},
        {"topics", 1, 0, 't'}, {"messages", 1, 0, 'n'}, {"window", 1, 0, 'w'}, {"rate", 1, 0, 'r'},
        {"for-s", 1, 0, 'f'}, {"grace-s", 1, 0, 'g'}, {"frozen", 1, 0, 'z'}, {"thaw-after-s", 1, 0, 'Z'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 's': sockets = atoi(optarg); break;
        case 'P': paths = lines_of(optarg, &path_count); break;
        case 'd': offer_deflate = true; break;
        case 'm': mqtt_inside = true; break;
        case 'S': subscription = optarg; break;
        case 'l': plain_port = atoi(optarg); break;
        case 'D': source_kind = source_named(optarg); break;
        case 'q': source_port = atoi(optarg); break;
        case 'o': post_path = optarg; break;
        case 'H':
            if (strlen(headers) + strlen(optarg) + 3 > sizeof headers)
                die("too many headers");
            strcat(strcat(headers, optarg), "\r\n");
            break;
        case 'b': body = optarg; break;
        case 't': topics = lines_of(optarg, &topic_count); break;
        case 'n': planned = atoll(optarg); break;
        case 'w': window = atoll(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'f': for_s = atof(optarg); break;
        case 'g': grace_s = atof(optarg); break;
        case 'z': frozen = atoi(optarg); break;
        case 'Z': thaw_after_s = atof(optarg); break;
        default: exit(2);
        }
    if (port <= 0 || sockets < 0 || !path_count || planned < 1 || window < 1)
        die("--port and --paths are needed; --messages and --window are at least 1");
    if (frozen < 0 || (frozen && (frozen >= sockets || thaw_after_s < 0)))
        die("--frozen is less than --sockets, and needs --thaw-after-s");
    if ((source_kind != NONE && source_port <= 0) || (source_kind == MQTT && !topic_count))
        die("a source needs --source-port, and the MQTT source --topics");
    if ((mqtt_inside || plain_port) && (!*subscription || strlen(subscription) > 100))
        die("MQTT needs --subscribe, at most 100 bytes");
    if (strlen(body) > SOURCE_BYTES / 4)
        die("--body is too long");
}

int main(int argc, char **argv) {
    parse(argc, argv);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    peers = calloc(sockets + 1, sizeof *peers);
    reached = calloc(planned + 1, sizeof *reached);
    if (!peers || !reached)
        die("no memory for %d sockets and %lld messages", sockets, (long long)planned);
    int64_t began_ns = clock_ns();
    open_all();
    int64_t open_ns = clock_ns() - began_ns;
    wait_for_go();
    int64_t used_ns = cpu_ns();
    received_bytes = reads = 0;
    run();
    report(open_ns, cpu_ns() - used_ns);
    return 0;
}
