#include "actors/agent_lease.hpp"

namespace davit {

bool agent_lease::beat_due(time_point now) const {
  return !beating_ && (!beaten_ || now - *beaten_ >= length_ / 6);
}

void agent_lease::beat_sent(time_point now) {
  beating_ = true;
  beaten_ = now;
}

void agent_lease::answered(bool granted, time_point sent, time_point now) {
  beating_ = false;
  refused_ = !granted;
  if (!granted || is_late(sent, now))
    return;
  from_ = sent;
  if (!since_)
    since_ = sent;
}

bool agent_lease::must_give_up(time_point now) const {
  return from_ && now - *from_ > length_ * 2 / 3;
}

bool agent_lease::over(time_point now) const {
  return !from_ || now - *from_ > length_;
}

void agent_lease::lose() {
  from_.reset();
  since_.reset();
}

bool agent_lease::steady(time_point now) const {
  return since_ && now - *since_ >= length_;
}

} // namespace davit
