#include "cli/log_formatter.hpp"

#include "encoding/printable.hpp"
#include "json/write.hpp"
#include "messages/uuid.hpp"

#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>

namespace davit {

namespace {

/// A message as one line, whatever an engine or a task has put into it.
class printable_message final : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& to) override {
    auto text = encoding::printable({message.payload.data(), message.payload.size()});
    to.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<printable_message>();
  }
};

/// An object on each line. The task, the attempt and the engine that a message is about are fields of their own, for
/// those who search.
class json_formatter final : public spdlog::formatter {
public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& to) override {
    std::string_view text{message.payload.data(), message.payload.size()};
    json::object line{{"time", format_timestamp(std::chrono::time_point_cast<timestamp::duration>(message.time))},
                      {"level", std::string_view{spdlog::level::to_string_view(message.level).data(),
                                                 spdlog::level::to_string_view(message.level).size()}},
                      {"message", json::detail::valid_utf8(text)}};
    auto word_behind = [&](std::string_view word) {
      auto at = text.find(word);
      if (at == std::string_view::npos || (at != 0 && text[at - 1] != ' '))
        return std::string_view{};
      auto rest = text.substr(at + word.size());
      return rest.substr(0, rest.find_first_of(" :,;)"));
    };
    if (uuid task; from_string(word_behind("task "), task))
      line["task"] = to_string(task);
    if (auto attempt = word_behind("attempt ");
        !attempt.empty() && attempt.find_first_not_of("0123456789") == std::string_view::npos)
      line["attempt"] = attempt;
    if (auto engine = word_behind("engine "); !engine.empty() && text.starts_with("engine "))
      line["engine"] = engine;
    auto written = encoding::printable_json(json::write(json::value(std::move(line)))) + '\n';
    to.append(written.data(), written.data() + written.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<json_formatter>(); }
};

} // namespace

std::unique_ptr<spdlog::formatter> make_log_formatter(bool as_json) {
  if (as_json)
    return std::make_unique<json_formatter>();
  auto text = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  text->add_flag<printable_message>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %*");
  return text;
}

} // namespace davit
