// What each step waits for: any other answer or timer is a mistake.
#include "actors/attempt_machine.hpp"

namespace davit {

bool attempt_machine::waits_for(const recovering& now, asked what) {
  using enum recovering::looking;
  switch (what) {
    case asked::inspect:
      return now.at == by_name || now.at == by_id;
    case asked::list_containers:
      return now.at == by_labels;
    case asked::count_processes:
      return now.at == inside;
    case asked::first_line:
      return now.at == whether_begun;
    default:
      return false;
  }
}

bool attempt_machine::waits_for(const preparing& now, asked what) {
  using enum preparing::doing;
  switch (what) {
    case asked::choose:
      return now.at == choosing;
    case asked::find_prepared:
      return now.at == ready;
    case asked::take_sandbox:
      return now.at == sandbox;
    case asked::take_network:
      return now.at == network;
    case asked::look_up_image:
      return now.at == image || now.at == look_up || now.at == memo_image;
    case asked::recall:
      return now.at == recalling;
    case asked::may_use:
      return now.at == rights || now.at == right;
    case asked::put_init:
      return now.at == init;
    case asked::record:
      return now.at == unrecording || now.at == recording;
    case asked::remove:
      return now.at == discarding;
    default:
      return false;
  }
}

bool attempt_machine::waits_for(const creating& now, asked what) {
  using enum creating::doing;
  return what == (now.at == create ? asked::create : asked::inspect);
}

bool attempt_machine::waits_for(const starting& now, asked what) {
  using enum starting::doing;
  switch (what) {
    case asked::remove:
      return now.at == clear;
    case asked::history:
      return now.at == prove;
    case asked::record:
      return now.at == announce;
    case asked::start:
      return now.at == start;
    case asked::hand_over:
      return now.at == hand_over;
    case asked::inspect:
      return now.at == look;
    default:
      return false;
  }
}

bool attempt_machine::waits_for(const running&, asked what) {
  return what == asked::record_stop || what == asked::inspect || what == asked::open_log || what == asked::stop
      || what == asked::first_line_now || what == asked::inspect_now || what == asked::kill_now;
}

bool attempt_machine::waits_for(const collecting& now, asked what) {
  using enum collecting::doing;
  switch (what) {
    case asked::open_log:
      return now.at == opening;
    case asked::read_log:
      return now.at == reading;
    case asked::note_log:
      return now.at == noting_missing || now.at == noting_gap || now.at == noting_end;
    case asked::first_line:
      return now.at == first_line;
    case asked::history:
      return now.at == history || now.at == suspecting;
    case asked::inspect:
      return now.at == inspecting;
    case asked::close_log:
      return now.at == closing;
    default:
      return false;
  }
}

bool attempt_machine::waits_for(const reporting& now, asked what) {
  return what == (now.how ? asked::close_log : asked::finish);
}

bool attempt_machine::waits_for(const removing& now, asked what) {
  using enum removing::doing;
  return what == asked::remove ? now.at == container
                               : what == asked::remove_now && (now.at == network || now.at == fenced);
}

bool attempt_machine::waits_for(const recovering& now, timer which) {
  return which == timer::again && now.at == recovering::looking::inside;
}

bool attempt_machine::waits_for(const preparing& now, timer which) {
  using enum preparing::doing;
  return which == timer::again
      && (now.at == unrecording || now.at == recalling || now.at == rights || now.at == right || now.at == choosing
          || now.at == recording);
}

bool attempt_machine::waits_for(const starting& now, timer which) {
  return which == timer::again && now.at == starting::doing::announce;
}

bool attempt_machine::waits_for(const running&, timer which) {
  return which == timer::again || which == timer::first_look || which == timer::beginning || which == timer::kill;
}

bool attempt_machine::waits_for(const collecting& now, timer which) {
  using enum collecting::doing;
  if (which == timer::again)
    return now.at == opening || now.at == engine_unsure || now.at == inspecting || now.at == watching
        || now.at == noting_gap || now.at == noting_end || now.at == closing;
  return which == timer::forgo;
}

bool attempt_machine::waits_for(const reporting& now, timer which) {
  return which == timer::again && now.result;
}

bool attempt_machine::waits_for(const removing& now, timer which) {
  return which == timer::patience && now.at == removing::doing::end;
}

} // namespace davit
