// Runs schedules, each from its seed, each in a process of its own: nothing of one is left for the next.
#include "simulation/oracle.hpp"

#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace davit::simulation;

namespace {

struct orders {
  std::uint64_t from = 1, seeds = 100;
  std::optional<std::uint64_t> replay;
  bool until_failure = false;
};

[[noreturn]] void usage(const std::string& wrong) {
  std::cerr
    << "davit_simulate: " << wrong
    << "\nusage: davit_simulate [--seeds N] [--from SEED] [--until-failure yes]   runs N schedules; says which "
       "break a promise"
       "\n       davit_simulate --replay SEED                                     runs one, and tells what happens\n";
  std::exit(2);
}

std::uint64_t number(const std::string& option, const char* text) {
  char* end = nullptr;
  auto value = text ? std::strtoull(text, &end, 10) : 0;
  if (!text || *text == 0 || *end != 0)
    usage(option + " needs a number");
  return value;
}

orders read(int count, char** words) {
  orders all;
  for (int i = 1; i < count; i += 2) {
    std::string option = words[i];
    auto value = i + 1 < count ? words[i + 1] : nullptr;
    if (option == "--seeds")
      all.seeds = number(option, value);
    else if (option == "--from")
      all.from = number(option, value);
    else if (option == "--replay")
      all.replay = number(option, value);
    else if (option == "--until-failure")
      all.until_failure = value && std::string{value} == "yes";
    else
      usage("unknown option " + option);
  }
  return all;
}

std::filesystem::path make_folder() {
  for (std::string folder :
       {"/dev/shm/davit-simulate-XXXXXX", "/tmp/davit-simulate-XXXXXX"}) // memory, if there is some
    if (::mkdtemp(folder.data()))
      return folder;
  usage(std::string{"neither /dev/shm nor /tmp can be written to: "} + std::strerror(errno));
}

struct tally {
  std::uint64_t messages = 0;
  std::int64_t nanoseconds = 0;
  int faults = 0, tasks = 0;
};

/// True: it kept all promises. What it broke is printed.
bool run_one(std::uint64_t seed, const std::filesystem::path& folder, bool aloud, tally& sum) {
  give_time_and_chance(seed);
  std::function<void(const std::string&)> story;
  auto all = draw_plan(seed);
  if (aloud) {
    std::cout << describe(all);
    story = [](const std::string& line) { std::cout << line << '\n'; };
  }
  auto& one = *new world{all, folder, story}; // never ended: its actors would handle what is left in their mailboxes
  auto broken = judge(one, one.run());
  sum = {one.messages(), now().count(), one.faults(), static_cast<int>(all.tasks.size())};
  if (!broken.empty() && !aloud)
    std::cout << describe(all);
  for (const auto& promise : broken)
    std::cout << "  broken: " << promise << '\n';
  std::cout.flush();
  return broken.empty();
}

/// A store without tasks, for all schedules to begin with: its schema takes longer than many a schedule.
void make_store(const std::filesystem::path& folder) {
  std::cout.flush();
  auto child = ::fork();
  if (child == 0) {
    give_time_and_chance(0);
    auto made = davit::store::task_store::open("sqlite://" + (folder / "davit.db").string());
    auto good = made.has_value();
    if (good)
      made->reset(); // what stands in its write-ahead log is in the file then
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0)
    usage("the store can't be made in " + folder.string());
}

/// In a process of its own.
bool run_apart(std::uint64_t seed, const std::filesystem::path& above, bool aloud, tally& sum) {
  auto folder = above / std::to_string(seed);
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(above / "davit.db", folder / "davit.db");
  int ends[2];
  if (::pipe(ends) != 0)
    return false;
  std::cout.flush();
  auto child = ::fork();
  if (child == 0) {
    tally mine;
    auto good = false;
    try {
      good = run_one(seed, folder, aloud, mine);
    } catch (const std::exception& e) {
      std::cout << "seed " << seed << ": " << e.what() << std::endl;
    }
    if (::write(ends[1], &mine, sizeof mine) != sizeof mine)
      good = false;
    ::_exit(good ? 0 : 1);
  }
  ::close(ends[1]);
  auto got = ::read(ends[0], &sum, sizeof sum);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  std::filesystem::remove_all(folder);
  if (WIFSIGNALED(status))
    std::cout << "seed " << seed << ": killed by signal " << WTERMSIG(status) << std::endl;
  return got == sizeof sum && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

} // namespace

int main(int count, char** words) {
  // The same addresses each time: what is sorted by them is the same, too.
  if (auto now = ::personality(0xffffffff); now >= 0 && !(now & ADDR_NO_RANDOMIZE)) {
    ::personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE);
    ::execv("/proc/self/exe", words);
  }
  auto all = read(count, words);
  spdlog::set_level(all.replay ? spdlog::level::debug : spdlog::level::off);
  auto folder = make_folder();
  make_store(folder);
  std::uint64_t failed = 0;
  tally sum;
  auto begun = std::chrono::steady_clock::now();
  auto first = all.replay.value_or(all.from), last = all.replay ? first : all.from + all.seeds - 1;
  std::uint64_t run = 0;
  for (auto seed = first; seed <= last && !(failed > 0 && all.until_failure); ++seed) {
    tally one;
    ++run;
    if (!run_apart(seed, folder, all.replay.has_value(), one))
      ++failed;
    sum.messages += one.messages;
    sum.nanoseconds += one.nanoseconds;
    sum.faults += one.faults;
    sum.tasks += one.tasks;
  }
  std::filesystem::remove_all(folder);
  auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::printf("%s schedules, %s failed; %d tasks, %d faults, %s messages, %.1f days in %.1f s (%.0f schedules/s)\n",
              std::to_string(run).c_str(), std::to_string(failed).c_str(), sum.tasks, sum.faults,
              std::to_string(sum.messages).c_str(), static_cast<double>(sum.nanoseconds) / 86400e9, took,
              static_cast<double>(run) / took);
  return failed == 0 ? 0 : 1;
}
