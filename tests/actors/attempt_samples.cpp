#include "actors/attempt_samples.hpp"

#include "actors/container_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/program.hpp"

namespace davit::test {

attempt_run fresh_attempt() {
  auto settings = std::make_shared<agent_settings>();
  settings->fleet = "test";
  settings->engines.push_back({});
  settings->engines.front().name = "local";
  attempt_run run;
  run.settings = settings;
  run.engine.name = "local";
  run.engine.state = engine_state::ready;
  run.engine.info.id = engine_id;
  run.engine.info.architecture = init::architecture();
  run.engine.grace = std::chrono::seconds{60};
  run.engine.epoch = 1;
  run.engine.same_since = timestamp{};
  run.has_keeper = true;
  run.work.token.key = {uuid{{7}}, 1};
  run.work.task.id = uuid{{7}};
  run.work.task.spec.image = "busybox";
  run.work.task.spec.command = {"true"};
  run.work.task.state = task_state::starting;
  auto& row = run.work.task.attempts.emplace_back();
  row.number = 1;
  row.engine = "local";
  row.engine_id = engine_id;
  row.created_at = timestamp{} + std::chrono::hours{1};
  run.spec = run.work.task.spec;
  return run;
}

namespace {

attempt_run at(step where) {
  auto run = fresh_attempt();
  run.now = std::move(where);
  return run;
}

attempt_run in_container(step where, bool warm = false) {
  auto run = at(std::move(where));
  run.made.id = container_id;
  run.made.image_id = "sha256:1";
  run.made.may_exist = true;
  run.made.nonce = init_nonce;
  run.made.says_begun = true;
  run.made.warm = warm;
  run.made.arguments = {"true"};
  run.made.image = image_info{};
  run.made.image->id = "sha256:1";
  run.begun_here = run.may_have_started = true;
  run.epoch_at_start = 1;
  return run;
}

attempt_run that_runs(step where, bool warm = false) {
  auto run = in_container(std::move(where), warm);
  run.ran = true;
  run.started_at = timestamp{} + std::chrono::hours{1};
  return run;
}

attempt_run at_end(collecting::doing what) {
  auto run = that_runs(collecting{});
  auto& now = std::get<collecting>(run.now);
  now.at = what;
  now.ended = container_of(run, "exited",
                           what == collecting::doing::suspecting || what == collecting::doing::inspecting ? 137 : 0);
  now.watched_until = moment().steady + std::chrono::seconds{5};
  now.looks = 1;
  now.end_told = what >= collecting::doing::noting_gap;
  run.made.following = what == collecting::doing::live_reader;
  run.made.feeding = what == collecting::doing::input;
  return run;
}

attempt_run looking_at(recovering::looking what) {
  auto run = what == recovering::looking::inside || what == recovering::looking::whether_begun
             ? in_container(recovering{}, true)
             : at(recovering{});
  auto& now = std::get<recovering>(run.now);
  now.at = what;
  if (!run.made.id.empty())
    now.found = container_of(run, "running");
  now.until = moment().steady + std::chrono::seconds{3};
  return run;
}

pulling pulling_at(pulling::doing what) {
  return {moment().steady, duration{60'000}, duration{60'000}, {}, what, "sha256:1"};
}

} // namespace

container_status container_of(const attempt_run& run, const std::string& state, std::int64_t code) {
  container_status status;
  status.id = container_id;
  status.name = container_name(run.key());
  status.image_id = "sha256:1";
  status.labels["davit.task"] = to_string(run.key().task);
  status.labels[init::nonce_label] = init_nonce;
  status.labels[init::words_label] = init::words_version;
  status.state = state;
  status.exit_code = code;
  status.raw_state = "{}";
  if (state != "created")
    status.started_at = timestamp{} + std::chrono::hours{1};
  if (state == "exited")
    status.finished_at = timestamp{} + std::chrono::hours{2};
  return status;
}

std::vector<std::pair<std::string, attempt_run>> every_step() {
  verdict failed;
  attempt_result result;
  std::vector<std::pair<std::string, attempt_run>> all{
    {"judging", at(judging{})},
    {"recovering: by name", looking_at(recovering::looking::by_name)},
    {"recovering: by labels", looking_at(recovering::looking::by_labels)},
    {"recovering: by id", looking_at(recovering::looking::by_id)},
    {"recovering: inside a sandbox", looking_at(recovering::looking::inside)},
    {"recovering: whether it had begun", looking_at(recovering::looking::whether_begun)},
    {"pulling", at(pulling{moment().steady, duration{60'000}, duration{60'000}, {}})},
    {"pulling: look before", at(pulling_at(pulling::doing::look_before))},
    {"pulling: announce", at(pulling_at(pulling::doing::announce))},
    {"pulling: look after", at(pulling_at(pulling::doing::look_after))},
    {"pulling: record", at(pulling_at(pulling::doing::record))},
    {"preparing: rights", at(preparing{preparing::doing::rights, {}})},
    {"preparing: look up", at(preparing{preparing::doing::look_up, {}})},
    {"preparing: right", at(preparing{preparing::doing::right, "sha256:1"})},
    {"preparing: choosing", at(preparing{preparing::doing::choosing, {}})},
    {"preparing: recording", at(preparing{preparing::doing::recording, {}})},
    {"preparing: ready", at(preparing{preparing::doing::ready, {}})},
    {"preparing: sandbox", at(preparing{preparing::doing::sandbox, {}})},
    {"preparing: network", at(preparing{preparing::doing::network, {}})},
    {"preparing: image", at(preparing{preparing::doing::image, {}})},
    {"preparing: init", at(preparing{preparing::doing::init, {}})},
    {"preparing: memo image", at(preparing{preparing::doing::memo_image, {}})},
    {"preparing: recalling", at(preparing{preparing::doing::recalling, "sha256:memo"})},
    {"preparing: unrecording", in_container(preparing{preparing::doing::unrecording, container_id}, true)},
    {"preparing: discarding", in_container(preparing{preparing::doing::discarding, container_id}, true)},
    {"creating", at(creating{})},
    {"creating: check image", in_container(creating{creating::doing::check_image, {}})},
    {"creating: prepared", at(creating{})},
    {"creating: prepared, check image", in_container(creating{creating::doing::check_image, {}})},
    {"creating: look twice", at(creating{creating::doing::look_twice, {engine_errc::failed, {}, {}, "no such thing"}})},
    {"filling", in_container(filling{})},
    {"filling: warm", in_container(filling{}, true)},
    {"starting: clear", in_container(starting{starting::doing::clear, {}})},
    {"starting: prove", in_container(starting{starting::doing::prove, {}})},
    {"starting: announce", in_container(starting{starting::doing::announce, {}})},
    {"starting: start", in_container(starting{starting::doing::start, {}})},
    {"starting: hand over", in_container(starting{starting::doing::hand_over, {}}, true)},
    {"starting: look", in_container(starting{starting::doing::look, {engine_errc::refused, {}, {}, "not found"}})},
    {"running: cold", that_runs(running{})},
    {"running: warm", that_runs(running{}, true)},
    {"running: stop recording", that_runs(running{running::stop_state::recording})},
    {"running: stop asked", that_runs(running{running::stop_state::asked})},
    {"collecting: live reader", at_end(collecting::doing::live_reader)},
    {"collecting: opening", at_end(collecting::doing::opening)},
    {"collecting: reading", at_end(collecting::doing::reading)},
    {"collecting: noting missing", at_end(collecting::doing::noting_missing)},
    {"collecting: first line", at_end(collecting::doing::first_line)},
    {"collecting: engine unsure", at_end(collecting::doing::engine_unsure)},
    {"collecting: history", at_end(collecting::doing::history)},
    {"collecting: suspecting", at_end(collecting::doing::suspecting)},
    {"collecting: inspecting", at_end(collecting::doing::inspecting)},
    {"collecting: watching", at_end(collecting::doing::watching)},
    {"collecting: noting gap", at_end(collecting::doing::noting_gap)},
    {"collecting: noting end", at_end(collecting::doing::noting_end)},
    {"collecting: input", at_end(collecting::doing::input)},
    {"collecting: closing", at_end(collecting::doing::closing)},
    {"gathering", that_runs(gathering{})},
    {"reporting: log", that_runs(reporting{failed, {}})},
    {"reporting: outcome", that_runs(reporting{{}, result})},
    {"removing: end", that_runs(removing{removing::doing::end}, true)},
    {"removing: container", that_runs(removing{removing::doing::container})},
    {"removing: network", that_runs(removing{removing::doing::network})},
    {"removing: fenced", that_runs(removing{removing::doing::fenced})},
    {"done", that_runs(done{})},
  };
  for (auto& [name, run] : all) {
    if (name == "preparing: sandbox" || name.starts_with("creating"))
      run.made.may_exist = true;
    if (name == "preparing: init" || name == "creating")
      run.made.image = image_info{};
    if (name.starts_with("filling") || name == "preparing: ready" || name.starts_with("creating: prepared"))
      run.spec.inputs.push_back({"sha256:0", "/src"});
    if (name == "preparing: choosing" || name == "preparing: recording")
      run.spec.caches.push_back({"key", "/cache", {}, {}});
    if (name == "preparing: recording") {
      run.caches.push_back(chosen_cache());
      run.tried.caches_to_record = true;
    }
    if (name.starts_with("preparing: memo") || name == "preparing: recalling")
      run.spec.memo = true;
    if (name.starts_with("creating: prepared"))
      run.prepared = ready_tree("sha256:1");
    if (name == "gathering")
      run.spec.outputs["out"] = {"/out", output_when::always, true, {}};
    if (name == "starting: announce")
      run.spec.at_most_once = true;
    if (name.starts_with("pulling: "))
      run.secrets[registry_secret] = {"{}", false};
    if (name == "running: stop asked")
      run.wanted = ending::cancelled;
    if (name == "running: stop recording")
      run.wanted = ending::drained;
    if (name == "removing: network")
      run.network = "n";
    if (name == "preparing: discarding")
      run.may_have_started = false;
  }
  return all;
}

std::vector<std::pair<std::string, event>> every_event() {
  auto run = fresh_attempt();
  std::vector<std::pair<std::string, event>> all;
  auto add = [&](std::string name, event one) { all.emplace_back(std::move(name), std::move(one)); };
  add("begun", begun{});
  {
    reply<ask::judge> judged;
    judged.value.effective = run.spec;
    add("judged: allowed", judged);
    judged.value.effective.pull = pull_policy::always;
    add("judged: allowed, pull always", judged);
    judged.value.forbidden = "image: not allowed";
    add("judged: forbidden", judged);
    judged.value.forbidden.clear();
    judged.value.unreadable = "another key";
    add("judged: unreadable", judged);
  }
  add("inspected: created", reply<ask::inspect>{container_of(run, "created")});
  add("inspected: running", reply<ask::inspect>{container_of(run, "running")});
  add("inspected: exited", reply<ask::inspect>{container_of(run, "exited")});
  {
    auto status = container_of(run, "running");
    status.finished_at = timestamp{};
    add("inspected: restarted", reply<ask::inspect>{status});
    status = container_of(run, "running");
    status.labels.clear();
    status.image_id = "sha256:2";
    add("inspected: foreign", reply<ask::inspect>{status});
    status = container_of(run, "running");
    status.labels = {{"davit.sandbox", init_nonce}};
    add("inspected: sandbox", reply<ask::inspect>{status});
    status = container_of(run, "exited", 137);
    status.oom_killed = true;
    add("inspected: killed for memory", reply<ask::inspect>{status});
  }
  add("listed: none", reply<ask::list_containers>{});
  {
    container_summary one;
    one.id = container_id;
    add("listed: one", reply<ask::list_containers>{{one}});
  }
  add("counted: 1", reply<ask::count_processes>{1});
  add("counted: 2", reply<ask::count_processes>{2});
  add("history: nothing", reply<ask::history>{});
  for (auto* action : {"create", "start", "kill", "oom"}) {
    engine_event one;
    one.action = action;
    add(std::string{"history: "} + action, reply<ask::history>{{one}});
  }
  add("first line: none", reply<ask::first_line>{});
  add("first line: begun", reply<ask::first_line>{"davit-init nonce begun 0 0;"});
  add("pulled", reply<ask::pull_image>{});
  {
    image_info image;
    image.id = "sha256:1";
    add("image", reply<ask::look_up_image>{image});
  }
  add("created", reply<ask::create>{container_id});
  add("started", reply<ask::start>{true});
  add("handed over", reply<ask::hand_over>{});
  add("stopped", reply<ask::stop>{true});
  add("stopped: needless", reply<ask::stop>{false});
  add("removed", reply<ask::remove>{});
  add("waited", reply<ask::wait>{});
  {
    log_end end;
    end.complete = true;
    add("log followed", reply<ask::follow_log>{end});
    add("log read", reply<ask::read_log>{end});
    for (auto word : {sandbox_word::unused, sandbox_word::exec, sandbox_word::exited, sandbox_word::signaled}) {
      end.report = sandbox_report{word, word == sandbox_word::exec ? 2 : 0, 0};
      add("log followed: " + to_string(word), reply<ask::follow_log>{end});
      add("log read: " + to_string(word), reply<ask::read_log>{end});
    }
  }
  add("fed", reply<ask::feed>{});
  add("refused feed: cancelled", refusal{asked::feed, {engine_errc::cancelled, {}, {}, "cancelled"}});
  add("first line now: none", reply<ask::first_line_now>{});
  add("first line now: begun", reply<ask::first_line_now>{"davit-init nonce begun 0 0;"});
  add("inspected now: running", reply<ask::inspect_now>{container_of(run, "running")});
  add("inspected now: paused", reply<ask::inspect_now>{container_of(run, "paused")});
  add("killed now", reply<ask::kill_now>{true});
  add("removed now", reply<ask::remove_now>{});
  {
    sandbox given;
    given.why = "none waits";
    add("sandbox: none", reply<ask::take_sandbox>{given});
    given.network = "n";
    add("network: one", reply<ask::take_network>{given});
    given = {};
    given.container = container_id;
    given.nonce = init_nonce;
    given.arguments = {"true"};
    add("sandbox: one", reply<ask::take_sandbox>{given});
  }
  add("init put", reply<ask::put_init>{});
  add("recorded", reply<ask::record>{});
  add("may use", reply<ask::may_use>{true});
  add("may not use", reply<ask::may_use>{false});
  add("pull recorded", reply<ask::record_pull>{});
  add("start recorded", reply<ask::record_start>{});
  add("timeout recorded", reply<ask::record_terms>{});
  add("stop recorded", reply<ask::record_stop>{});
  add("stored", reply<ask::finish>{});
  add("log open", reply<ask::open_log>{});
  add("log closed", reply<ask::close_log>{});
  add("noted", reply<ask::note_log>{});
  add("filled", reply<ask::fill>{});
  add("prepared", reply<ask::find_prepared>{ready_tree("sha256:1")});
  add("prepared for another image", reply<ask::find_prepared>{ready_tree("sha256:9")});
  add("not prepared", reply<ask::find_prepared>{});
  add("gathered: kept", reply<ask::gather>{{{{"out", output_state::kept, "sha256:", 1, 1, {}}}, {}}});
  add("gathered: missing", reply<ask::gather>{{{{"out", output_state::missing, {}, 0, 0, "nothing there"}}, {}}});
  add("caches chosen", reply<ask::choose>{{chosen_cache()}});
  add("no memo", reply<ask::recall>{});
  add("memo", reply<ask::recall>{{"01934567-0000-7000-8000-000000000001/1", "a", {}, {}}});
  for (std::size_t i = 0; i < questions::size; ++i) {
    auto what = static_cast<asked>(i);
    auto refuse = [&](const std::string& how, failure why) {
      add("refused " + to_string(what) + ": " + how, refusal{what, std::move(why)});
    };
    switch (what) {
      case asked::record:
      case asked::may_use:
      case asked::recall:
      case asked::record_pull:
      case asked::record_start:
      case asked::record_terms:
      case asked::record_stop:
      case asked::finish:
        refuse("unavailable", {{}, store_errc::unavailable, {}, "locked"});
        refuse("fenced", {{}, store_errc::fenced, {}, "fenced"});
        break;
      case asked::open_log:
      case asked::close_log:
      case asked::note_log:
        refuse("unwritable", {{}, {}, log_errc::unwritable, "full"});
        break;
      case asked::judge:
        break;
      case asked::fill:
      case asked::gather:
      case asked::choose:
        refuse("lost cache", {{}, {}, {}, "the cache can't be read any more", files_errc::lost});
        refuse("unprepared", {{}, {}, {}, "a volume was removed", files_errc::unprepared});
        refuse("files", {{}, {}, {}, "the disk can't be read", files_errc::failed});
        refuse("no tree", {{}, {}, {}, "there is no such tree", files_errc::missing});
        refuse("lost", {engine_errc::lost, {}, {}, "lost"});
        refuse("failed", {engine_errc::failed, {}, {}, "no space left on device"});
        refuse("not found", {engine_errc::not_found, {}, {}, "no such container"});
        refuse("refused", {engine_errc::refused, {}, {}, "bad request"});
        break;
      case asked::follow_log:
      case asked::read_log:
        refuse("stale", {{}, {}, log_errc::stale, "stale"});
        [[fallthrough]];
      default:
        refuse("lost", {engine_errc::lost, {}, {}, "lost"});
        refuse("failed", {engine_errc::failed, {}, {}, "no space left on device"});
        refuse("not found", {engine_errc::not_found, {}, {}, "no such container"});
        refuse("refused", {engine_errc::refused, {}, {}, "bad request"});
    }
  }
  add("refused create: conflict", refusal{asked::create, {engine_errc::conflict, {}, {}, "the name is in use"}});
  add("refused create: can't", refusal{asked::create, {engine_errc::failed, {}, {}, "mkdir: not a directory"}});
  add("refused take_sandbox: conflict",
      refusal{asked::take_sandbox, {engine_errc::conflict, {}, {}, "the name is in use"}});
  add("refused start: init",
      refusal{asked::start,
              {engine_errc::refused, {}, {}, std::string{init::folder_beginning} + "-0/init: no such file"}});
  {
    auto status = run.engine;
    add("engine ready", engine_changed{status});
    status.epoch = 2;
    status.same_since.reset();
    add("engine ready, another epoch", engine_changed{status});
    status.state = engine_state::down;
    add("engine down", engine_changed{status});
    status.state = engine_state::ready;
    status.info.id = "engine-2";
    add("another engine", engine_changed{status});
  }
  add("peers changed", peers_changed{true});
  add("cancel", cancel_asked{});
  add("cancel within", cancel_asked{duration{5000}});
  add("drain", drain_asked{});
  add("fenced", fenced{false});
  add("fenced, clear", fenced{true});
  add("pull moved", pull_moved{});
  for (auto which : {timer::engine_retry, timer::engine_grace, timer::again, timer::first_look, timer::beginning,
                     timer::timeout, timer::forgo, timer::patience, timer::kill})
    add("timer " + to_string(which), timer_fired{which});
  return all;
}

std::string describe(const attempt_run& run) {
  static constexpr const char* recover[]
    = {"by name", "by labels", "by id", "inside a sandbox", "whether it had begun"};
  static constexpr const char* prepare[]
    = {"choosing",    "recording",  "ready",      "sandbox",   "network", "image",   "init",
       "unrecording", "discarding", "memo image", "recalling", "rights",  "look up", "right"};
  static constexpr const char* pull[] = {"look before", "announce", "", "look after", "record"};
  static constexpr const char* create[] = {"create", "check image", "look twice"};
  static constexpr const char* start[] = {"clear", "prove", "announce", "start", "hand over", "look"};
  static constexpr const char* stop[] = {"", "stop recording", "stop asked", "stopped", "stop needless"};
  static constexpr const char* collect[]
    = {"live reader", "opening",    "reading",  "noting missing", "first line", "engine unsure", "history",
       "suspecting",  "inspecting", "watching", "noting gap",     "noting end", "input",         "closing"};
  static constexpr const char* remove[] = {"end", "container", "network", "fenced"};
  struct words {
    std::string operator()(const judging&) const { return {}; }
    std::string operator()(const recovering& now) const { return recover[static_cast<int>(now.at)]; }
    std::string operator()(const pulling& now) const { return pull[static_cast<int>(now.at)]; }
    std::string operator()(const preparing& now) const { return prepare[static_cast<int>(now.at)]; }
    std::string operator()(const creating& now) const { return create[static_cast<int>(now.at)]; }
    std::string operator()(const starting& now) const { return start[static_cast<int>(now.at)]; }
    std::string operator()(const running& now) const { return stop[static_cast<int>(now.stop)]; }
    std::string operator()(const filling&) const { return {}; }
    std::string operator()(const gathering& now) const { return to_string(now.how.outcome); }
    std::string operator()(const collecting& now) const { return collect[static_cast<int>(now.at)]; }
    std::string operator()(const reporting& now) const {
      return to_string(now.how ? now.how->outcome : now.result->outcome) + (now.how ? "" : ", storing");
    }
    std::string operator()(const removing& now) const { return remove[static_cast<int>(now.at)]; }
    std::string operator()(const done&) const { return {}; }
  };
  auto more = std::visit(words{}, run.now);
  std::string held;
  for (auto one : run.held)
    held += " held " + to_string(one);
  return std::string{step_names[run.now.index()]} + (more.empty() ? "" : ": " + more) + held;
}

namespace {

struct action_words {
  std::string operator()(const act::wake& one) const { return "wake " + to_string(one.which); }
  std::string operator()(const act::withdraw&) const { return "withdraw"; }
  std::string operator()(const act::release&) const { return "release"; }
  std::string operator()(const act::end_following&) const { return "end following"; }
  std::string operator()(const act::doubt_init&) const { return "doubt init"; }
  std::string operator()(const act::forget_container& one) const { return "forget " + one.which; }
  std::string operator()(const act::remember_image&) const { return "remember image"; }
  std::string operator()(const act::forget_pull&) const { return "forget pull"; }
  std::string operator()(const act::note&) const { return "note"; }
  std::string operator()(const act::log_is_stored&) const { return "log is stored"; }
  std::string operator()(const act::free_slot&) const { return "free slot"; }
  std::string operator()(const act::leave&) const { return "leave"; }
  std::string operator()(const act::crash&) const { return {}; }
  std::string operator()(const act::phase_took&) const { return {}; }
  std::string operator()(const act::queue_took&) const { return {}; }
  std::string operator()(const act::start_took&) const { return {}; }
  std::string operator()(const act::pull_ended&) const { return {}; }
  std::string operator()(const act::attempt_began&) const { return {}; }
  std::string operator()(const act::attempt_resumed&) const { return {}; }
  std::string operator()(const act::memory_killed&) const { return {}; }
  std::string operator()(const act::task_ended&) const { return "task ended"; }
  std::string operator()(const act::say&) const { return {}; }
  std::string operator()(const act::unexpected&) const { return "MISTAKE"; }
  template <class Ask>
  std::string ask_text(const Ask&) const {
    return "ask " + to_string(name_of<Ask>);
  }
  template <class Ask>
  std::string operator()(const Ask& one) const {
    return ask_text(one);
  }
};

} // namespace

std::string describe(const action& what) {
  return std::visit(action_words{}, what);
}

} // namespace davit::test
