/* A client of BearSSL's own making: bearssl_client PORT CA.der VISITS
 *
 * It trusts that CA alone, comes back with the session it got, and prints what the server answers.
 */
#include <arpa/inet.h>
#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned char name[4096];
static size_t name_length;

static void append_name(void *context, const void *bytes, size_t length) {
    (void)context;
    if (length > sizeof name - name_length)
        exit(3);
    memcpy(name + name_length, bytes, length);
    name_length += length;
}

static void trust(const char *path, br_x509_trust_anchor *anchor) {
    static unsigned char der[8192];
    static br_x509_decoder_context decoder; /* the key points into it */
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        exit(3);
    size_t length = fread(der, 1, sizeof der, file);
    fclose(file);
    br_x509_decoder_init(&decoder, append_name, NULL);
    br_x509_decoder_push(&decoder, der, length);
    br_x509_pkey *key = br_x509_decoder_get_pkey(&decoder);
    if (key == NULL)
        exit(3);
    anchor->dn.data = name;
    anchor->dn.len = name_length;
    anchor->flags = br_x509_decoder_isCA(&decoder) ? BR_X509_TA_CA : 0;
    anchor->pkey = *key;
}

static int receive(void *context, unsigned char *buffer, size_t length) {
    ssize_t got = read(*(int *)context, buffer, length);
    return got > 0 ? (int)got : -1;
}

static int transmit(void *context, const unsigned char *buffer, size_t length) {
    ssize_t sent = write(*(int *)context, buffer, length);
    return sent > 0 ? (int)sent : -1;
}

static int visit(int port, br_ssl_client_context *client, br_sslio_context *io, int again) {
    static const char request[] =
        "GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static int connection;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0)
        return 3;
    br_ssl_client_reset(client, "localhost", again);
    br_sslio_init(io, &client->eng, receive, &connection, transmit, &connection);
    br_sslio_write_all(io, request, sizeof request - 1);
    br_sslio_flush(io);
    unsigned char answer[4096];
    int got;
    while ((got = br_sslio_read(io, answer, sizeof answer)) > 0)
        fwrite(answer, 1, got, stdout);
    close(connection);
    return br_ssl_engine_last_error(&client->eng);
}

int main(int count, char **arguments) {
    static br_x509_minimal_context certificates;
    static br_ssl_client_context client;
    static br_sslio_context io;
    static unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
    br_x509_trust_anchor anchor;
    if (count != 4)
        return 2;
    trust(arguments[2], &anchor);
    br_ssl_client_init_full(&client, &certificates, &anchor, 1);
    br_ssl_engine_set_buffer(&client.eng, buffer, sizeof buffer, 1);
    for (int number = 0; number < atoi(arguments[3]); number++) {
        int error = visit(atoi(arguments[1]), &client, &io, number > 0);
        if (error != 0) {
            fprintf(stderr, "BearSSL's error %d\n", error);
            return 1;
        }
    }
    return 0;
}
