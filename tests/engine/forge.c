// A task that wants to end otherwise than it does: see init_attack_test.cpp. Static, in an image of its own.
//
// forge WAY UID TAG: leaves two processes of this user behind, which read what the init says out of the task's own
// pipes, and say something else; ends with 7. (TAG: that it can be found.) forge peek: what of the init it can see.
// forge raw: whether it gets a raw socket.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void say(int to, const char* text) {
  if (write(to, text, strlen(text)) < 0)
    _exit(1);
}

/// A last word of the same mark, and of the same seal if there is one.
static void forge(const char* way, const char* line) {
  char mark[80] = "", seal[80] = "", text[400];
  int number, kills;
  const char* word = strcmp(way, "unused") == 0 ? "unused" : strcmp(way, "begun") == 0 ? "begun" : "exited";
  if (strcmp(way, "swallow") == 0
      || sscanf(line, "davit-init %70s %*s %d %d %70[0-9a-f]", mark, &number, &kills, seal) < 3)
    return;
  for (int both = 1; both <= 2; ++both) {
    snprintf(text, sizeof text, "davit-init %s %s 0 0;\n", mark, word);
    say(both, text);
    snprintf(text, sizeof text, "davit-init %s %s 0 0 %s;\n", mark, word, seal);
    say(both, text);
  }
}

static void be_left(const char* way, int uid, int from, int ended, int ready) {
  static char text[65536];
  for (int one = 1; one < 32; ++one)
    signal(one, SIG_IGN);
  if (uid != 0 && (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0)) {
    say(2, "it can't become another user\n");
    _exit(1);
  }
  close(ready);
  char nothing;
  while (read(ended, &nothing, 1) > 0) {
  }
  while (1) {
    ssize_t count = read(from, text, sizeof text - 1);
    if (count <= 0)
      break;
    text[count] = 0;
    forge(way, text);
  }
  sleep(60);
  _exit(0);
}

static int opens(const char* path) {
  int file = open(path, O_RDONLY);
  char text[4096];
  ssize_t count = file < 0 ? -1 : read(file, text, sizeof text);
  int shown = 0;
  for (ssize_t i = 0; i < count; ++i)
    shown |= text[i] != 0;
  if (shown)
    printf("read %s\n", path);
  return file;
}

static int peek(void) {
  char path[40], byte;
  opens("/proc/1/environ");
  if (opens("/proc/1/mem") >= 0 || open("/proc/1/mem", O_RDWR) >= 0)
    puts("opened its memory");
  for (int i = 0; i < 64; ++i) {
    snprintf(path, sizeof path, "/proc/1/fd/%d", i);
    if (open(path, O_RDONLY | O_NONBLOCK) >= 0)
      printf("opened %s\n", path);
  }
  struct iovec own = {&byte, 1}, its = {(void*)0x400000, 1};
  if (process_vm_readv(1, &own, 1, &its, 1, 0) == 1)
    puts("read its memory");
  int init = (int)syscall(434, 1, 0); // pidfd_open
  if (init >= 0 && syscall(438, init, 1, 0) >= 0) // pidfd_getfd
    puts("took what it has open");
  if (ptrace(PTRACE_SEIZE, 1, 0, 0) == 0)
    puts("traces it");
  puts("end");
  return 0;
}

int main(int count, char** words) {
  if (count > 1 && strcmp(words[1], "peek") == 0)
    return peek();
  if (count > 1 && strcmp(words[1], "raw") == 0) {
    int one = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    puts(one >= 0 ? "raw" : strerror(errno));
    return 0;
  }
  if (count < 4)
    return 1;
  int out = open("/proc/self/fd/1", O_RDONLY), err = open("/proc/self/fd/2", O_RDONLY);
  if (strcmp(words[1], "early") == 0) { // what the init has said of its beginning
    char text[400];
    fcntl(out, F_SETFL, O_NONBLOCK);
    if (read(out, text, sizeof text) > 0)
      say(2, "it got what the init had said\n");
    fcntl(out, F_SETFL, 0);
    words[1] = "swallow";
  }
  int ended[2], ready[2];
  if (out < 0 || err < 0 || pipe(ended) != 0 || pipe(ready) != 0)
    return 1;
  for (int i = 0; i < 2; ++i)
    if (fork() == 0) {
      close(ended[1]);
      close(ready[0]);
      be_left(words[1], atoi(words[2]), i == 0 ? out : err, ended[0], ready[1]);
    }
  close(ready[1]);
  char nothing;
  while (read(ready[0], &nothing, 1) > 0) { // until both are that other user: whom the init may kill depends on it
  }
  say(1, "before\n");
  for (int unread = 1; unread > 0; usleep(1000)) // all of its output has left
    if (ioctl(1, FIONREAD, &unread) != 0)
      break;
  return 7;
}
