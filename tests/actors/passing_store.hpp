// A store that passes everything on to a real one: tests override what they want to fail.
#pragma once

#include "store/task_store.hpp"

namespace davit::test {

class passing_store : public store::task_store {
public:
  template <class T>
  using result = store::result<T>;

  explicit passing_store(std::unique_ptr<store::task_store> to) : to_(std::move(to)) {}

  std::string warning() const override { return to_->warning(); }
  bool shared() const override { return to_->shared(); }
  result<void> batch(const std::function<void()>& work) override { return to_->batch(work); }
  result<task_receipt> accept(const store::new_task& task) override { return to_->accept(task); }
  result<claim_answer> claim(const claim_request& request, bool private_only) override {
    return to_->claim(request, private_only);
  }
  result<task_page> next_tasks(const std::string& agent, bool private_only, const std::vector<std::string>& labels,
                               std::uint32_t limit) override {
    return to_->next_tasks(agent, private_only, labels, limit);
  }
  result<std::vector<std::string>> limits_reached(const task& queued, const placement_rules& rules) override {
    return to_->limits_reached(queued, rules);
  }
  result<bool> heartbeat(const agent_status& agent, duration lease) override { return to_->heartbeat(agent, lease); }
  result<void> retire(const std::string& agent, uuid incarnation) override { return to_->retire(agent, incarnation); }
  result<std::vector<agent_status>> agents() override { return to_->agents(); }
  result<adoption> adopt(const adopt_request& request) override { return to_->adopt(request); }
  result<std::uint32_t> expire(timestamp now) override { return to_->expire(now); }
  result<std::vector<task_id>> finished_before(timestamp before, std::uint32_t limit) override {
    return to_->finished_before(before, limit);
  }
  result<void>
  put_log(const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes) override {
    return to_->put_log(key, index, count, bytes);
  }
  result<log_block> get_log(const attempt_key& key, std::uint32_t index) override { return to_->get_log(key, index); }
  result<void> forget(const std::vector<task_id>& tasks) override { return to_->forget(tasks); }
  result<void> image_pulled(const std::string& engine, const std::string& name) override {
    return to_->image_pulled(engine, name);
  }
  result<std::vector<std::string>> images_unused(const std::string& engine, timestamp before) override {
    return to_->images_unused(engine, before);
  }
  result<void> forget_image(const std::string& engine, const std::string& name) override {
    return to_->forget_image(engine, name);
  }
  result<bool> may_use_image(const image_grant& wanted) override { return to_->may_use_image(wanted); }
  result<void> pull_of_image(const image_grant& what, pull_stage stage) override {
    return to_->pull_of_image(what, stage);
  }
  result<bool> guards_images() override { return to_->guards_images(); }
  result<std::vector<volume_key>>
  take_unused_volume(const std::string& engine, duration age, const std::vector<volume_key>& seen) override {
    return to_->take_unused_volume(engine, age, seen);
  }
  result<void> volume_removal_ended(const std::string& engine, const volume_key& volume, bool gone) override {
    return to_->volume_removal_ended(engine, volume, gone);
  }
  davit::store::blob_catalogue& blobs() override { return to_->blobs(); }
  result<void> record(const attempt_progress& progress) override { return to_->record(progress); }
  result<task_state> finish(const attempt_result& ended) override { return to_->finish(ended); }
  result<std::size_t> take_name(const std::string& agent) override { return to_->take_name(agent); }
  result<task> cancel(task_id id, std::optional<duration> within) override { return to_->cancel(id, within); }
  result<duration> time_to_kill(task_id id) override { return to_->time_to_kill(id); }
  result<memo_answer> recall(const attempt_token& token, const std::string& memo) override {
    return to_->recall(token, memo);
  }
  result<task> get(task_id id, const std::string& owner) override { return to_->get(id, owner); }
  result<task_page> list(const task_query& query) override { return to_->list(query); }
  result<std::vector<task_event>>
  events(std::int64_t sequence, task_id only, std::uint32_t limit, const std::string& owner) override {
    return to_->events(sequence, only, limit, owner);
  }
  result<std::int64_t> last_event() override { return to_->last_event(); }
  result<ended_attempts> ended_since(const std::string& agent, timestamp since, std::int64_t after) override {
    return to_->ended_since(agent, since, after);
  }
  result<std::vector<task_event>> news() override { return to_->news(); }
  result<std::vector<owner_counts>> counts() override { return to_->counts(); }

private:
  std::unique_ptr<store::task_store> to_;
};

} // namespace davit::test
