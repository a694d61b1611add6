// A container's standard input.
#pragma once

#include "transport/engine_calls.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace davit::transport {

/// Makes a container and attaches to its standard input. An engine that is attached to before the container's start
/// ends the connection when it has passed all on; else it waits for the container's end. What fails leaves no
/// container.
awaitable<result<made_sandbox>>
create_attached(std::shared_ptr<engine_client> client, container_plan plan, call_options options);

/// Passes bytes on to a container's standard input and closes it. The container decides how fast it reads, and may end
/// without reading all: no deadline holds but the caller's withdrawal.
///
/// Good: the engine has all, or the container had ended before the connection did. `cancelled`: withdrawn while the
/// connection was well. Any other error: what the container has read may end before its input does.
awaitable<result<void>> deliver_input(std::shared_ptr<engine_client> client, std::shared_ptr<byte_stream> line,
                                      std::string container, std::string bytes, call_options options);

/// Closes a line that nothing more is written to, in good order, if the engine comes to it by then.
awaitable<result<void>> close_line(std::shared_ptr<byte_stream> line, deadline until);

/// What two clocks say: an engine's when it was asked, and ours before and after.
struct clock_reading {
  timestamp asked, answered, engine;
};

/// Whether what happened at `engine_time` on the engine's clock was before `our_time` on ours. Clocks that may be the
/// same are taken to be.
bool happened_before(timestamp engine_time, timestamp our_time, const clock_reading& clocks);

} // namespace davit::transport
