// So many of something at once.
#pragma once

#include <atomic>
#include <memory>

namespace davit::api {

/// Gives out places. Thread-safe; a place may outlive it.
class limited_places {
public:
  explicit limited_places(int most) : most_(most) {}

  /// Null: all are taken. A place is given back when the last copy of the pointer has gone.
  std::shared_ptr<const void> take() {
    if (taken_->fetch_add(1) >= most_) {
      taken_->fetch_sub(1);
      return nullptr;
    }
    return {taken_.get(), [taken = taken_](const void*) { taken->fetch_sub(1); }};
  }

private:
  const int most_;
  std::shared_ptr<std::atomic<int>> taken_ = std::make_shared<std::atomic<int>>(0);
};

} // namespace davit::api
