/* Loaded into another program by LD_PRELOAD: a thread of that program's process waits for the file that INSIDE_GATE names,
   sends INSIDE_REQUESTS requests to the loopback port INSIDE_PORT, and writes the number of answers beside the gate. */

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const char *get = "GET /from/inside HTTP/1.1\r\nHost: test\r\n\r\n";
  char answer[4096];
  int end = socket(AF_INET, SOCK_STREAM, 0);
  int answered = connect(end, (struct sockaddr *)&to, sizeof to) == 0 &&
                 write(end, get, strlen(get)) == (ssize_t)strlen(get) && read(end, answer, sizeof answer) > 9;
  close(end);
  return answered && strncmp(answer, "HTTP/1.1 ", 9) == 0;
}

static void *work(void *unused) {
  const char *gate = getenv("INSIDE_GATE");
  int port = atoi(getenv("INSIDE_PORT")), requests = atoi(getenv("INSIDE_REQUESTS")), answers = 0;
  while (access(gate, F_OK) != 0) usleep(5000);
  for (int n = 0; n < requests; n++) answers += ask(port);
  char path[4096], partial[4096];
  snprintf(path, sizeof path, "%s.answers", gate);
  snprintf(partial, sizeof partial, "%s.partial", gate);
  FILE *file = fopen(partial, "w");
  if (file != NULL) {
    fprintf(file, "%d", answers);
    fclose(file);
    rename(partial, path);
  }
  return unused;
}

__attribute__((constructor)) static void begin(void) {
  pthread_t thread;
  if (getenv("INSIDE_GATE") != NULL) pthread_create(&thread, NULL, work, NULL);
}
