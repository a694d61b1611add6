#include "actors/sink_outlet.hpp"

#include "actors/console_outlet.hpp"
#include "messages/regular_file.hpp"
#include "store/private_files.hpp"
#include "transport/io_runtime.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>

#include <spdlog/sinks/rotating_file_sink.h>

#include <cstdlib>
#include <string_view>
#include <unistd.h>

namespace davit {

namespace {

using shipping::delivery;
using shipping::log_names;

constexpr duration delivery_deadline = std::chrono::seconds{30};

delivery again(std::string why) {
  return {delivery::verdict::again, std::move(why), duration{0}, 0, {}};
}

/// Lines of JSON, written here and now.
class file_outlet final : public sink_outlet {
public:
  file_outlet(sink_settings settings, bool is_private) : settings_(std::move(settings)) {
    if (is_private)
      handlers_.before_open = store::make_private_file;
  }

  void send(std::shared_ptr<const log_names> names, records_ptr records, std::function<void(delivery)> done) override {
    std::string lines;
    for (const auto& one : *records)
      lines += shipping::json_line(*names, one);
    done(write(lines));
  }

private:
  delivery write(std::string_view rest) {
    try {
      if (!file_) {
        if (auto wrong = wrong_kind(settings_.path); !wrong.empty()) // to open a pipe would wait for its reader
          return again(settings_.path + ' ' + wrong);
        file_ = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(settings_.path, settings_.max_size.bytes,
                                                                       settings_.max_files, false, handlers_);
        file_->set_pattern("%v");
      }
      // One by one: the file is rotated between two of them.
      while (!rest.empty()) {
        auto end = rest.find('\n');
        file_->log(spdlog::details::log_msg{"", spdlog::level::info, {rest.data(), end}});
        rest.remove_prefix(end + 1);
      }
      file_->flush();
      return {};
    } catch (const std::exception& e) {
      file_.reset();
      return again(e.what());
    }
  }

  sink_settings settings_;
  spdlog::file_event_handlers handlers_;
  std::shared_ptr<spdlog::sinks::rotating_file_sink_mt> file_;
};

class service_outlet final : public sink_outlet {
public:
  service_outlet(boost::asio::any_io_executor strand, std::shared_ptr<shipping::log_service> service)
    : strand_(std::move(strand)), service_(std::move(service)) {}

  void send(std::shared_ptr<const log_names> names, records_ptr records, std::function<void(delivery)> done) override {
    transport::call_options options;
    options.until = transport::within(delivery_deadline);
    boost::asio::co_spawn(
      strand_, service_->send(std::move(names), std::move(records), options),
      [done = std::move(done), service = service_](const std::exception_ptr& failed, delivery result) {
        done(failed ? again("an internal error ended the delivery") : std::move(result));
      });
  }

private:
  boost::asio::any_io_executor strand_;
  std::shared_ptr<shipping::log_service> service_;
};

} // namespace

transport::result<std::shared_ptr<sink_outlet>>
make_sink_outlet(const agent_context& context, const sink_settings& settings) {
  using outlet_ptr = std::shared_ptr<sink_outlet>;
  if (settings.type == sink_type::console) {
    // One for the process: a sink that starts again completes the line that it had begun.
    static const auto console = make_console_outlet(STDOUT_FILENO);
    return console;
  }
  if (settings.type == sink_type::file)
    return outlet_ptr{
      std::make_shared<file_outlet>(settings, store::lies_in(settings.path, context.settings.data_dir))};
  boost::asio::any_io_executor strand = boost::asio::make_strand(context.io.context());
  auto service
    = shipping::make_log_service(strand, settings, [](const char* name) -> const char* { return std::getenv(name); });
  if (!service)
    return service.error();
  return outlet_ptr{std::make_shared<service_outlet>(strand, std::move(*service))};
}

} // namespace davit
