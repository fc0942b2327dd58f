/* The client that asks: HTTP requests or WebSocket handshakes, in a closed loop over some connections.

   requests post|upgrade -p PORT -f FILE -c CONNECTIONS -n COUNT -s SECONDS [-u PATH] [-H HEADER]... [-m WORD]
            [-k KEPT] [-r FILE] [-e FRAMES] [-w PID]

   One thread, one epoll, no library but the C one, so that it costs less than any server it asks. A connection sends
   its next request when the last one is answered; at most COUNT are sent, and none after SECONDS.

   post     FILE has one body a line, taken in turn and sent to PATH with each HEADER over connections that stay open.
            -m counts how often WORD stands in all answers.
   upgrade  FILE has one path a line, taken in turn; each gets a connection of its own. KEPT accepted ones stay open,
            the oldest is reset when there are more. Before that, and at the end, each is asked for a close frame:
            who accepts the handshake and closes at once has refused it.
   -r       FILE has one path a line: these WebSockets are opened beforehand and count the text frames they get.
   -e       frames awaited for each answer with status 200, before the end; no longer than the grace. With upgrade,
            frames awaited on each accepted WebSocket, of which there is one for each connection; no longer than SECONDS.
   -w       the server's process, its CPU time is reported too, exact to about a tick of the kernel.

   At the end it prints one line of JSON; bench/load/requests.py describes its fields. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
    ANSWER_BYTES = 1 << 20,
    READ_BYTES = 1 << 16,
    EVENTS = 256,
    STATUSES = 600,
    CONTROL_BYTES = 125, /* RFC 6455, section 5.5 */
    GRACE_MS = 3000,     /* for what is under way when the time is over, and for the last frames */
    SETTLE_MS = 200,     /* for the close frames of the last handshakes */
    TIMEOUT_S = 5,
};

enum opcode { TEXT = 1, CLOSE = 8, PING = 9 };

struct span {
    char *data;
    size_t size;
};

struct list {
    struct span *items;
    size_t count;
};

/* A connection: one that asks, or one that listens. */
struct peer {
    int fd; /* -1: not open */
    bool listens;
    /* of those that ask */
    const struct span *request; /* NULL: nothing is under way */
    size_t sent;
    uint64_t began_ns;
    uint64_t due_ns; /* when it may begin the next one */
    char *answer;
    size_t received;
    /* of those that listen: where in the stream of frames it is */
    unsigned char head[10];
    size_t head_size;
    uint64_t length, left;
    unsigned char control[CONTROL_BYTES];
    uint64_t frames;
};

static struct {
    bool upgrade;
    int port;
    const char *path, *file, *listeners, *word;
    char headers[4096];
    size_t connections, count, kept, addresses;
    double seconds, period_s;
    uint64_t frames_each;
    pid_t watched;
} options = {.path = "/", .word = "", .connections = 1, .count = 1, .addresses = 1, .seconds = 10};

static struct {
    uint64_t statuses[STATUSES];
    uint64_t begun, answered, broken, refused, closed, words, frames, last_frame_ns;
    uint64_t *latencies_ns;
    size_t under_way;
} tally;

static struct list requests;
static int poll_fd;
static uint64_t deadline_ns;

static void fail(const char *what) {
    fprintf(stderr, "requests: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static void *checked(void *memory) {
    if (!memory)
        fail("memory");
    return memory;
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail("clock");
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static uint64_t watched_cpu_ns(void) {
    clockid_t clock;
    if (!options.watched)
        return 0;
    if ((errno = clock_getcpuclockid(options.watched, &clock)))
        fail("the server's CPU time");
    return clock_ns(clock);
}

/* -- what is sent ------------------------------------------------------------------------------------------------- */

static struct span upgrade_request(const char *path, size_t size) {
    struct span request;
    int made = asprintf(&request.data,
                        "GET %.*s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                        (int)size, path, options.port, options.headers);
    if (made < 0)
        fail("memory");
    request.size = (size_t)made;
    return request;
}

static struct span post_request(const char *body, size_t size) {
    struct span request;
    int made = asprintf(&request.data,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sContent-Length: %zu\r\n\r\n%.*s", options.path,
                        options.port, options.headers, size, (int)size, body);
    if (made < 0)
        fail("memory");
    request.size = (size_t)made;
    return request;
}

/* One request for each line of the file. */
static struct list requests_of(const char *path, struct span (*request)(const char *, size_t)) {
    struct list list = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path);
    while ((size = getline(&line, &room, file)) >= 0) {
        if (size && line[size - 1] == '\n')
            size--;
        list.items = checked(realloc(list.items, (list.count + 1) * sizeof *list.items));
        list.items[list.count++] = request(line, (size_t)size);
    }
    free(line);
    fclose(file);
    if (!list.count)
        fail("an empty file");
    return list;
}

/* -- connections -------------------------------------------------------------------------------------------------- */

/* From 127.0.0.1, or from the next of several addresses. */
static int connected(void) {
    static size_t number;
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number++ % options.addresses));
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) ||
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes) ||
        bind(fd, (struct sockaddr *)&from, sizeof from) ||
        connect(fd, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    return fd;
}

static void await(struct peer *peer, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(poll_fd, operation, peer->fd, &event))
        fail("epoll_ctl");
}

/* Without TIME_WAIT, or a few runs would use up all ports. */
static void reset(int fd) {
    struct linger abrupt = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
    close(fd);
}

/* -- those that ask ----------------------------------------------------------------------------------------------- */

static void begin(struct peer *peer);

static void give_up(struct peer *peer) {
    reset(peer->fd);
    peer->fd = -1;
    peer->request = NULL;
    tally.broken++;
    tally.under_way--;
}

static void send_rest(struct peer *peer) {
    const struct span *request = peer->request;
    ssize_t sent = send(peer->fd, request->data + peer->sent, request->size - peer->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        give_up(peer); /* not begin(): that would recurse; the connection rests from now on */
        return;
    }
    bool waited = peer->sent > 0 || sent < 0;
    peer->sent += sent > 0 ? (size_t)sent : 0;
    if (peer->sent < request->size)
        await(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    else if (waited)
        await(peer, EPOLL_CTL_MOD, EPOLLIN);
}

static bool more(void) { return tally.begun < options.count && now_ns() < deadline_ns; }

static void begin(struct peer *peer) {
    if (!more() || peer->due_ns > now_ns())
        return;
    peer->request = &requests.items[tally.begun++ % requests.count];
    peer->sent = peer->received = 0;
    peer->began_ns = options.period_s ? peer->due_ns : now_ns(); /* one that begins late has waited */
    peer->due_ns += (uint64_t)(options.period_s * 1e9);
    tally.under_way++;
    if (peer->fd < 0) {
        peer->fd = connected();
        await(peer, EPOLL_CTL_ADD, EPOLLIN);
    }
    send_rest(peer);
}

static void part(int fd) {
    unsigned char first;
    ssize_t got = recv(fd, &first, 1, MSG_DONTWAIT);
    if (got == 0 || (got == 1 && first == (0x80 | CLOSE)))
        tally.refused++;
    reset(fd);
}

/* Hold this accepted WebSocket, and reset the oldest when more than KEPT are open; -1 only does that. */
static void keep(int fd) {
    static int *kept;
    static size_t at;
    if (!kept) {
        kept = checked(malloc(options.kept * sizeof *kept));
        memset(kept, -1, options.kept * sizeof *kept);
    }
    if (kept[at] >= 0)
        part(kept[at]);
    kept[at] = fd;
    at = (at + 1) % options.kept;
}

/* The size of a whole answer; 0: more must come. */
static size_t answer_size(struct peer *peer) {
    peer->answer[peer->received] = 0;
    char *end = strstr(peer->answer, "\r\n\r\n");
    if (!end)
        return 0;
    size_t size = (size_t)(end - peer->answer) + 4;
    if (strncmp(peer->answer + 8, " 101 ", 5) == 0)
        return size;
    char *length = strcasestr(peer->answer, "\r\nContent-Length:");
    char *chunked = strcasestr(peer->answer, "\r\nTransfer-Encoding: chunked");
    if (chunked && chunked < end) { /* no request is sent before the answer: its last chunk is at the end of what came */
        static const char last[] = "\r\n0\r\n\r\n";
        size_t tail = strlen(last);
        return memcmp(peer->answer + peer->received - tail, last, tail) == 0 ? peer->received : 0;
    }
    if (!length || length > end)
        fail("an answer without its length");
    size += strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    return peer->received < size ? 0 : size;
}

static void count_words(const char *text) {
    size_t size = strlen(options.word);
    if (size)
        for (const char *found = text; (found = strstr(found, options.word)); found += size)
            tally.words++;
}

static void feed(struct peer *peer, const unsigned char *data, size_t size);

static void finish_upgrade(struct peer *peer, int status, size_t size) {
    bool refused = peer->received > size && (unsigned char)peer->answer[size] == (0x80 | CLOSE);
    if (status == 101 && !refused && options.frames_each) {
        peer->listens = true;
        feed(peer, (unsigned char *)peer->answer + size, peer->received - size);
        if (tally.frames)
            tally.last_frame_ns = now_ns();
        return;
    }
    if (status == 101 && !refused) {
        epoll_ctl(poll_fd, EPOLL_CTL_DEL, peer->fd, NULL);
        keep(peer->fd);
    } else {
        tally.refused += refused;
        reset(peer->fd);
    }
    peer->fd = -1;
}

static void read_answer(struct peer *peer) {
    ssize_t got = recv(peer->fd, peer->answer + peer->received, ANSWER_BYTES - 1 - peer->received, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (!peer->request) { /* a connection between two requests: the server closed it */
        reset(peer->fd);
        peer->fd = -1;
        return;
    }
    if (got <= 0) {
        give_up(peer);
        begin(peer);
        return;
    }
    peer->received += (size_t)got;
    size_t size = answer_size(peer);
    if (!size && peer->received == ANSWER_BYTES - 1)
        fail("an answer of a megabyte");
    if (!size)
        return;
    int status = atoi(peer->answer + 9);
    tally.statuses[status > 0 && status < STATUSES ? status : 0]++;
    tally.latencies_ns[tally.answered++] = now_ns() - peer->began_ns;
    tally.under_way--;
    count_words(peer->answer);
    peer->request = NULL;
    if (options.upgrade) {
        finish_upgrade(peer, status, size);
        if (peer->listens)
            return;
    } else if (status >= 400 && strcasestr(peer->answer, "\r\nConnection: close")) { /* as a refusal does; the next request opens another */
        reset(peer->fd);
        peer->fd = -1;
    }
    begin(peer);
}

/* -- those that listen -------------------------------------------------------------------------------------------- */

static size_t head_size(const struct peer *peer) {
    unsigned length = peer->head[1] & 0x7f;
    return peer->head_size < 2 ? 2 : length == 127 ? 10 : length == 126 ? 4 : 2;
}

static uint64_t frame_length(const struct peer *peer) {
    size_t size = head_size(peer);
    uint64_t length = 0;
    for (size_t at = 2; at < size; at++)
        length = length << 8 | peer->head[at];
    return size == 2 ? peer->head[1] & 0x7f : length;
}

static void pong(struct peer *peer) {
    unsigned char frame[6 + CONTROL_BYTES] = {0x8a, (unsigned char)(0x80 | peer->length)}; /* masked with zeros */
    memcpy(frame + 6, peer->control, peer->length);
    send(peer->fd, frame, 6 + peer->length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void end_frame(struct peer *peer) {
    switch (peer->head[0] & 0x0f) {
    case TEXT:
        peer->frames++;
        tally.frames++;
        break;
    case PING:
        pong(peer);
        break;
    case CLOSE:
        tally.closed++;
        break;
    }
    peer->head_size = 0;
}

static void feed(struct peer *peer, const unsigned char *data, size_t size) {
    while (size) {
        if (peer->head_size < head_size(peer)) {
            peer->head[peer->head_size++] = *data++;
            size--;
            if (peer->head_size < head_size(peer))
                continue;
            peer->left = peer->length = frame_length(peer);
            if (peer->head[0] & 0x08 && peer->length > CONTROL_BYTES)
                fail("a control frame that is too long");
        }
        size_t part = peer->left < size ? (size_t)peer->left : size;
        if (peer->head[0] & 0x08)
            memcpy(peer->control + (peer->length - peer->left), data, part);
        data += part;
        size -= part;
        peer->left -= part;
        if (!peer->left)
            end_frame(peer);
    }
}

static void read_frames(struct peer *peer) {
    static unsigned char data[READ_BYTES];
    ssize_t got = recv(peer->fd, data, sizeof data, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        tally.closed++;
        reset(peer->fd);
        peer->fd = -1;
        return;
    }
    uint64_t before = tally.frames;
    feed(peer, data, (size_t)got);
    if (tally.frames > before)
        tally.last_frame_ns = now_ns();
}

static void listen_on(struct peer *peer, const struct span *request) {
    static char answer[READ_BYTES];
    size_t received = 0;
    char *end = NULL;
    peer->listens = true;
    peer->fd = connected();
    if (send(peer->fd, request->data, request->size, MSG_NOSIGNAL) != (ssize_t)request->size)
        fail("the handshake of a listener");
    while (!end) {
        ssize_t got = recv(peer->fd, answer + received, sizeof answer - 1 - received, 0);
        if (got <= 0)
            fail("the handshake of a listener");
        received += (size_t)got;
        answer[received] = 0;
        end = strstr(answer, "\r\n\r\n");
    }
    if (strncmp(answer + 8, " 101 ", 5) != 0) {
        errno = 0;
        fail("a listener was refused");
    }
    end += 4;
    feed(peer, (unsigned char *)end, received - (size_t)(end - answer));
    await(peer, EPOLL_CTL_ADD, EPOLLIN);
}

/* -- the run ------------------------------------------------------------------------------------------------------ */

static void turn(int timeout_ms) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
    for (int at = 0; at < ready; at++) {
        struct peer *peer = events[at].data.ptr;
        if (peer->listens)
            read_frames(peer);
        else if (events[at].events & EPOLLOUT && peer->request)
            send_rest(peer);
        else
            read_answer(peer);
    }
}

static bool frames_awaited(void) { return tally.frames < options.frames_each * tally.statuses[options.upgrade ? 101 : 200]; }

static int ascending(const void *one, const void *other) {
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

/* By the nearest rank, in milliseconds. */
static double percentile_ms(unsigned percent) {
    if (!tally.answered)
        return 0;
    size_t rank = (tally.answered * percent + 99) / 100;
    return (double)tally.latencies_ns[rank ? rank - 1 : 0] / 1e6;
}

static void print(uint64_t began_ns, uint64_t answered_ns, uint64_t cpu_ns, uint64_t server_cpu_ns,
                  const struct peer *listeners, size_t listener_count) {
    qsort(tally.latencies_ns, tally.answered, sizeof *tally.latencies_ns, ascending);
    printf("{\"statuses\":{");
    const char *comma = "";
    for (int status = 0; status < STATUSES; status++)
        if (tally.statuses[status]) {
            printf("%s\"%d\":%lu", comma, status, tally.statuses[status]);
            comma = ",";
        }
    printf("},\"broken\":%lu,\"unanswered\":%zu,\"refused\":%lu,\"words\":%lu,\"began_ns\":%lu,\"answering_s\":%.9f,"
           "\"p50_ms\":%.6f,\"p99_ms\":%.6f,\"cpu_s\":%.9f,\"server_cpu_s\":%.9f,\"closed\":%lu,\"receiving_s\":%.9f,"
           "\"frames\":[",
           tally.broken, tally.under_way, tally.refused, tally.words, began_ns, (double)(answered_ns - began_ns) / 1e9,
           percentile_ms(50), percentile_ms(99), (double)cpu_ns / 1e9, (double)server_cpu_ns / 1e9, tally.closed,
           tally.last_frame_ns > began_ns ? (double)(tally.last_frame_ns - began_ns) / 1e9 : 0.0);
    for (size_t at = 0; at < listener_count; at++)
        printf("%s%lu", at ? "," : "", listeners[at].frames);
    printf("]}\n");
}

static void run(void) {
    struct list paths = {0};
    if (options.listeners)
        paths = requests_of(options.listeners, upgrade_request);
    struct peer *peers = checked(calloc(options.connections + paths.count, sizeof *peers));
    struct peer *listeners = peers + options.connections;
    tally.latencies_ns = checked(calloc(options.count, sizeof *tally.latencies_ns));
    for (size_t at = 0; at < paths.count; at++)
        listen_on(&listeners[at], &paths.items[at]);
    for (size_t at = 0; at < options.connections; at++) {
        peers[at].answer = checked(malloc(ANSWER_BYTES));
        peers[at].fd = -1;
        if (!options.upgrade) {
            peers[at].fd = connected();
            await(&peers[at], EPOLL_CTL_ADD, EPOLLIN);
        }
    }
    uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID), server_cpu_ns = watched_cpu_ns();
    uint64_t began_ns = now_ns();
    deadline_ns = began_ns + (uint64_t)(options.seconds * 1e9);
    for (size_t at = 0; at < options.connections; at++) {
        if (options.period_s) /* they take turns */
            peers[at].due_ns = began_ns + (uint64_t)(options.period_s * 1e9 * (double)at / (double)options.connections);
        begin(&peers[at]);
    }
    while ((tally.under_way || (options.period_s && more())) && now_ns() < deadline_ns + GRACE_MS * 1000000ull) {
        turn(options.period_s ? 1 : GRACE_MS);
        for (size_t at = 0; options.period_s && at < options.connections; at++)
            if (!peers[at].request && peers[at].fd >= 0)
                begin(&peers[at]);
    }
    uint64_t answered_ns = now_ns();
    uint64_t awaited_ns = (options.upgrade ? deadline_ns : answered_ns) + GRACE_MS * 1000000ull;
    while (frames_awaited() && now_ns() < awaited_ns)
        turn(GRACE_MS);
    turn(0); /* what is too much may lie there too */
    server_cpu_ns = watched_cpu_ns() - server_cpu_ns;
    cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    if (options.upgrade) {
        usleep(SETTLE_MS * 1000);
        for (size_t at = 0; at < options.kept; at++)
            keep(-1);
    }
    if (options.upgrade && options.frames_each)
        print(began_ns, answered_ns, cpu_ns, server_cpu_ns, peers, options.connections);
    else
        print(began_ns, answered_ns, cpu_ns, server_cpu_ns, listeners, paths.count);
}

static void allow_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void take_header(const char *header) {
    size_t used = strlen(options.headers);
    int size = snprintf(options.headers + used, sizeof options.headers - used, "%s\r\n", header);
    if (size < 0 || (size_t)size >= sizeof options.headers - used)
        fail("too many headers");
}

static void take_options(int count, char **words) {
    int option;
    if (count < 2 || (strcmp(words[1], "post") != 0 && strcmp(words[1], "upgrade") != 0))
        fail("post or upgrade?");
    options.upgrade = strcmp(words[1], "upgrade") == 0;
    while ((option = getopt(count - 1, words + 1, "p:f:c:n:s:i:u:H:m:k:r:e:w:a:")) != -1)
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'f': options.file = optarg; break;
        case 'c': options.connections = strtoul(optarg, NULL, 10); break;
        case 'n': options.count = strtoul(optarg, NULL, 10); break;
        case 's': options.seconds = strtod(optarg, NULL); break;
        case 'i': options.period_s = strtod(optarg, NULL); break;
        case 'u': options.path = optarg; break;
        case 'H': take_header(optarg); break;
        case 'm': options.word = optarg; break;
        case 'k': options.kept = strtoul(optarg, NULL, 10); break;
        case 'r': options.listeners = optarg; break;
        case 'e': options.frames_each = strtoul(optarg, NULL, 10); break;
        case 'w': options.watched = atoi(optarg); break;
        case 'a': options.addresses = strtoul(optarg, NULL, 10); break;
        default: exit(2);
        }
    if (!options.port || !options.file || !options.connections || !options.count)
        fail("-p, -f, -c and -n are needed");
    if (options.upgrade && options.frames_each && options.connections != options.count)
        fail("-e with upgrade needs a connection for each handshake");
    if (!options.kept)
        options.kept = options.connections;
}

int main(int count, char **words) {
    take_options(count, words);
    allow_open_files();
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0)
        fail("epoll");
    requests = requests_of(options.file, options.upgrade ? upgrade_request : post_request);
    run();
    return 0;
}
