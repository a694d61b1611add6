// The signals that ask a command to end, for one that has to do something before it ends.
#pragma once

#include <string_view>

namespace davit {

/// While it lives, the first SIGINT, SIGTERM or SIGHUP (unless that is ignored, as under nohup) is told by
/// `descriptor()`. A second one ends the process with 130 as soon as the first is answered, a third one at once. One
/// object at a time. A command that has nothing to do before it ends must not have one: signals end it by themselves.
class interrupts {
public:
  interrupts();
  interrupts(const interrupts&) = delete;
  interrupts& operator=(const interrupts&) = delete;
  ~interrupts();

  /// Readable from the first signal on. To be waited for, not to be read.
  int descriptor() const;

  /// What the first signal asks for is done, or can't be done.
  void answered();

  /// Writes to stdout or stderr, and takes off `bytes` what was written. 0: all of it; otherwise an errno. EINTR: the
  /// reader takes nothing at the moment, and a signal has come; told once. From then on a reader that takes nothing for
  /// a second is not waited for any more: ETIMEDOUT.
  int write(int fd, std::string_view& bytes);

private:
  bool told_ = false;
};

} // namespace davit
