// The store on a SQL database. Each verb belongs to one of the rooms in the other sql_* files.
#include "store/sql_blobs.hpp"
#include "store/sql_grants.hpp"
#include "store/sql_queue.hpp"
#include "store/sql_volumes.hpp"

#include <filesystem>

namespace davit::store {

namespace {

class sql_store final : public task_store {
public:
  explicit sql_store(std::unique_ptr<dialect> how)
    : session_(std::move(how), {&turns_, &images_, &volumes_, &events_}) {}

  result<void> open() {
    auto opened = events_.open();
    return opened ? images_.open() : opened;
  }

  bool shared() const override { return session_.how().shared(); }
  std::string warning() const override { return session_.upkeep().warning; }
  result<void> batch(const std::function<void()>& work) override { return session_.batch(work); }

  result<task_receipt> accept(const new_task& task) override {
    return task.spec.inputs.empty() ? queue_.accept(task) : accept_with_inputs(task);
  }
  result<claim_answer> claim(const claim_request& request, bool private_only) override {
    return queue_.claim(request, private_only);
  }
  result<task_page> next_tasks(const std::string& agent, bool private_only, const std::vector<std::string>& labels,
                               std::uint32_t limit) override {
    return queue_.next_tasks(agent, private_only, labels, limit);
  }
  result<std::vector<std::string>> limits_reached(const task& queued, const placement_rules& rules) override {
    return queue_.limits_reached(queued, rules);
  }
  result<std::uint32_t> expire(timestamp now) override { return queue_.expire(now); }

  result<bool> heartbeat(const agent_status& agent, duration lease) override { return agents_.heartbeat(agent, lease); }
  result<void> retire(const std::string& agent, uuid incarnation) override {
    return agents_.retire(agent, incarnation);
  }
  result<std::vector<agent_status>> agents() override { return agents_.agents(); }
  result<adoption> adopt(const adopt_request& request) override { return agents_.adopt(request); }

  result<std::vector<volume_key>>
  take_unused_volume(const std::string& engine_id, duration age, const std::vector<volume_key>& seen) override {
    return volumes_.take_unused(engine_id, age, seen);
  }
  result<void> volume_removal_ended(const std::string& engine_id, const volume_key& volume, bool gone) override {
    return volumes_.removal_ended(engine_id, volume, gone);
  }

  result<void> record(const attempt_progress& progress) override { return attempts_.record(progress); }
  result<task_state> finish(const attempt_result& ended) override { return attempts_.finish(ended); }
  result<task> cancel(task_id id, std::optional<duration> within) override { return attempts_.cancel(id, within); }
  result<duration> time_to_kill(task_id id) override { return attempts_.time_to_kill(id); }
  result<memo_answer> recall(const attempt_token& token, const std::string& memo) override {
    return attempts_.recall(token, memo);
  }
  result<void>
  put_log(const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes) override {
    return attempts_.put_log(key, index, count, bytes);
  }
  result<log_block> get_log(const attempt_key& key, std::uint32_t index) override {
    return attempts_.get_log(key, index);
  }

  result<void> image_pulled(const std::string& engine_id, const std::string& name) override {
    return images_.pulled(engine_id, name);
  }
  result<std::vector<std::string>> images_unused(const std::string& engine_id, timestamp before) override {
    return images_.unused(engine_id, before);
  }
  result<void> forget_image(const std::string& engine_id, const std::string& name) override {
    return images_.forget_image(engine_id, name);
  }

  result<std::size_t> take_name(const std::string& agent) override { return agents_.take_name(agent); }

  result<bool> may_use_image(const image_grant& wanted) override { return grants_.may_use(wanted); }
  result<void> pull_of_image(const image_grant& what, pull_stage stage) override { return grants_.pull(what, stage); }
  result<bool> guards_images() override { return grants_.any(); }

  blob_catalogue& blobs() override { return blobs_; }

  result<task> get(task_id id, const std::string& owner) override { return tasks_.get(id, owner); }
  result<task_page> list(const task_query& query) override { return tasks_.list(query); }
  result<std::vector<owner_counts>> counts() override { return tasks_.counts(); }
  result<std::vector<task_id>> finished_before(timestamp before, std::uint32_t limit) override {
    return tasks_.finished_before(before, limit);
  }
  result<void> forget(const std::vector<task_id>& tasks) override { return tasks_.forget(tasks); }

  result<std::vector<task_event>>
  events(std::int64_t sequence, task_id only, std::uint32_t limit, const std::string& owner) override {
    return events_.after(sequence, only, limit, owner);
  }
  result<std::int64_t> last_event() override { return events_.last(); }
  result<ended_attempts> ended_since(const std::string& agent, timestamp since, std::int64_t after) override {
    return events_.ended_since(agent, since, after);
  }
  result<std::vector<task_event>> news() override { return events_.news(); }

private:
  /// The task and its uses of its inputs' trees, or nothing.
  result<task_receipt> accept_with_inputs(const new_task& task) {
    if (auto full = queue_.why_full())
      return *full;
    return session_.transaction<task_receipt>([&]() -> result<task_receipt> {
      for (std::size_t i = 0; i < task.spec.inputs.size(); ++i) {
        const auto& name = task.spec.inputs[i].tree;
        auto tree = blobs::parse_digest(name);
        if (tree && blobs_.use(task.owner, *tree, task.id))
          continue;
        blobs_.forget_uses(task.id);
        return error{errc::no_tree,
                     "inputs[" + std::to_string(i) + "].tree: there is no tree " + name + "; upload it first"};
      }
      auto receipt = queue_.insert(task);
      if (!receipt || receipt->id != task.id) // it was accepted before, with uses of its own
        blobs_.forget_uses(task.id);
      return receipt;
    });
  }

  sql_session session_;
  sql_turns turns_{session_};
  sql_images images_{session_};
  sql_grants grants_{session_};
  sql_blobs blobs_{session_};
  sql_volumes volumes_{session_};
  sql_events events_{session_}; // the last of what is written last
  sql_tasks tasks_{session_};
  sql_agents agents_{session_, tasks_, events_};
  sql_attempts attempts_{session_, tasks_, events_, images_, volumes_, blobs_};
  sql_queue queue_{session_, events_, turns_, tasks_, agents_, attempts_, images_, volumes_};
};

result<std::unique_ptr<dialect>> dialect_of(const std::string& url, sqlite_limits limits) {
  constexpr std::string_view scheme = "sqlite://";
  if (url.starts_with("postgresql://") || url.starts_with("postgres://"))
    return make_postgresql(url);
  if (!url.starts_with(scheme) || url.size() == scheme.size())
    return error{errc::unavailable, "\"" + url
                                      + "\" is not a valid store; write sqlite:///path/to/davit.db or"
                                        " postgresql://user@host/database"};
  auto path = url.substr(scheme.size());
  if (path.find_first_of(" '\"") != std::string::npos)
    return error{errc::unavailable, "the store's path \"" + path + "\" has blanks or quotes, which are not supported"};
  auto folder = std::filesystem::path{path}.parent_path();
  std::error_code ec;
  if (!folder.empty() && !std::filesystem::is_directory(folder, ec))
    return error{errc::unavailable, "the store's folder " + folder.string() + " is not there"};
  return make_sqlite(path, limits);
}

} // namespace

result<std::unique_ptr<task_store>> task_store::open(const std::string& url, sqlite_limits limits) {
  auto how = dialect_of(url, limits);
  if (!how)
    return how.error();
  auto made = std::make_unique<sql_store>(std::move(*how));
  if (auto opened = made->open(); !opened)
    return opened.error();
  return std::unique_ptr<task_store>{std::move(made)};
}

} // namespace davit::store
