/* The one program in the images of the load tests: says its version, copies its input, or serves HTTP. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8000)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 16);
    for (;;) {
        char request[1024] = {0};
        int client = accept(listener, 0, 0);
        if (read(client, request, sizeof request - 1) > 0) {
            const char *answer = strstr(request, "/health") ? "HTTP/1.0 200 OK\r\n\r\nfine\n"
                                                            : "HTTP/1.0 503 Sick\r\n\r\nno\ndatabase\n";
            write(client, answer, strlen(answer));
        }
        close(client);
    }
}

int main(int count, char **arguments) {
    char buffer[4096];
    ssize_t size;
    if (count > 1 && !strcmp(arguments[1], "serve")) serve();
    FILE *in = count > 1 && !strcmp(arguments[1], "cat") ? stdin : fopen("/version", "r");
    while ((size = fread(buffer, 1, sizeof buffer, in)) > 0) fwrite(buffer, 1, size, stdout);
    return 0;
}
