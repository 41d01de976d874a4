// Lets several processes on one machine serve at the same address, as cloned machines do, for tests: LD_PRELOAD this
// library, and name two ports in PORT_INSIDE and PORT_OUTSIDE. The process binds the port outside, and believes that it
// has bound the port inside.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Replaces the port of an IPv4 address if it is the one that the variable `from` names.
static void translate(struct sockaddr *address, const char *from, const char *to) {
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)address;
    const char *old = getenv(from), *new = getenv(to);
    if (old && new && address->sa_family == AF_INET && ipv4->sin_port == htons(atoi(old))) {
        ipv4->sin_port = htons(atoi(new));
    }
}

int bind(int socket, const struct sockaddr *address, socklen_t length) {
    struct sockaddr_storage outside;
    if (length > sizeof outside) {
        return syscall(SYS_bind, socket, address, length);
    }
    memcpy(&outside, address, length);
    translate((struct sockaddr *)&outside, "PORT_INSIDE", "PORT_OUTSIDE");
    return syscall(SYS_bind, socket, &outside, length);
}

int getsockname(int socket, struct sockaddr *address, socklen_t *length) {
    int result = syscall(SYS_getsockname, socket, address, length);
    if (result == 0) {
        translate(address, "PORT_OUTSIDE", "PORT_INSIDE");
    }
    return result;
}
