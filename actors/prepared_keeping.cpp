#include "actors/prepared_keeping.hpp"

#include "actors/metrics.hpp"
#include "actors/prepared_making.hpp"
#include "actors/prepared_plan.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

using namespace std::chrono_literals;

namespace {

/// How long a task waits for an engine's word on images.
constexpr duration look_up_limit{5000};

std::chrono::steady_clock::time_point now() {
  return std::chrono::steady_clock::now();
}

} // namespace

/// One look at one engine.
struct prepared_keeping::view {
  std::string engine;
  engine_actor actor;
  std::vector<image_summary> images;
  std::map<std::string, std::uint64_t> bases; ///< Those that are there, with their sizes.
  std::vector<std::string> orphans;           ///< Tags of images without their base.
  std::size_t left = 0;                       ///< Bases that are still looked up.
  std::function<void()> then;
};

/// What a task asks.
struct prepared_keeping::question {
  prepared_query query;
  std::string key;
  caf::typed_response_promise<prepared_image> promise;
};

std::string prepared_keeping::name_of(const std::string& tag) const {
  return prepared_repository(context_->settings.fleet) + ':' + tag;
}

std::uint64_t prepared_keeping::limit(const std::string& engine) const {
  const auto& all = context_->settings.engines;
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == engine; });
  return found == all.end() ? 0 : found->prepared_images.bytes;
}

// -- what there is ---------------------------------------------------------------------------------------------------

void prepared_keeping::look() {
  if (context_->settings.private_tasks) // the images are those of agents that stay
    return;
  for (const auto& [engine, actor] : handles_.engines)
    list(engine, [] {});
}

void prepared_keeping::once_listed(const std::string& engine, std::function<void()> then) {
  if (images_.listed(engine))
    then();
  else
    list(engine, std::move(then));
}

void prepared_keeping::list(const std::string& engine, std::function<void()> then) {
  auto actor = handles_.engines.find(engine);
  if (actor == handles_.engines.end() || !actor->second)
    return then();
  auto at = std::make_shared<view>();
  at->engine = engine;
  at->actor = actor->second;
  at->then = std::move(then);
  self_->request(at->actor, look_up_limit, images_atom_v, list_atom_v, prepared_repository(context_->settings.fleet))
    .then(
      [this, at](std::vector<image_summary>& all) {
        at->images = std::move(all);
        std::map<std::string, std::vector<std::string>> tags;
        for (const auto& one : at->images)
          for (const auto& name : one.names) {
            auto tag = name.substr(name.rfind(':') + 1);
            if (auto parts = read_prepared_tag(tag))
              tags[parts->first].push_back(tag);
          }
        at->left = tags.size();
        if (tags.empty())
          return listed(at);
        for (auto& [base, of_base] : tags)
          self_->request(at->actor, look_up_limit, find_atom_v, base)
            .then(
              [this, at, base = base](const image_info& found) {
                at->bases[base] = found.size;
                if (--at->left == 0)
                  listed(at);
              },
              [this, at, base = base, of_base = of_base](const caf::error& e) {
                if (engine_code(e) == engine_errc::not_found)
                  at->orphans.insert(at->orphans.end(), of_base.begin(), of_base.end());
                else
                  at->bases[base] = 0; // not known: as if the image shared nothing
                if (--at->left == 0)
                  listed(at);
              });
      },
      [at](const caf::error&) { at->then(); });
}

void prepared_keeping::listed(const std::shared_ptr<view>& at) {
  images_.list(at->engine, at->images, at->bases, now());
  for (const auto& tag : at->orphans)
    remove(at->engine, tag);
  for (const auto& tag : images_.over(at->engine, limit(at->engine), 0))
    remove(at->engine, tag);
  at->then();
}

/// What a container is made of stays; the next look finds it again.
void prepared_keeping::remove(const std::string& engine, const std::string& tag) {
  images_.drop(engine, tag);
  auto actor = handles_.engines.find(engine);
  if (actor == handles_.engines.end() || !actor->second)
    return;
  self_->request(actor->second, caf::infinite, images_atom_v, remove_atom_v, name_of(tag))
    .then([engine, tag](bool) { spdlog::info("removed the prepared image {} from engine {}", tag, engine); },
          [](const caf::error&) {});
}

// -- what tasks ask --------------------------------------------------------------------------------------------------

caf::result<prepared_image> prepared_keeping::find(const prepared_query& query) {
  if (limit(query.engine) == 0)
    return prepared_image{};
  auto at = std::make_shared<question>(question{query, prepared_key(query.owner, query.user, query.inputs),
                                                self_->make_response_promise<prepared_image>()});
  once_listed(query.engine, [this, at] { look_up(at); });
  return at->promise;
}

void prepared_keeping::miss(const std::shared_ptr<question>& at) {
  context_->metrics->prepared("miss");
  at->promise.deliver(prepared_image{});
}

void prepared_keeping::look_up(const std::shared_ptr<question>& at) {
  const auto& engine = at->query.engine;
  auto actor = handles_.engines.find(engine);
  if (!images_.has_key(engine, at->key) || actor == handles_.engines.end() || !actor->second)
    return miss(at);
  self_->request(actor->second, look_up_limit, find_atom_v, at->query.image)
    .then(
      [this, at](const image_info& base) {
        auto tag = prepared_tag(base.id, at->key);
        if (images_.has(at->query.engine, tag))
          look_at(at, base.id, tag);
        else
          miss(at);
      },
      [this, at](const caf::error&) { miss(at); });
}

void prepared_keeping::look_at(const std::shared_ptr<question>& at, const std::string& base, const std::string& tag) {
  auto actor = handles_.engines.find(at->query.engine);
  if (actor == handles_.engines.end() || !actor->second)
    return miss(at);
  self_->request(actor->second, look_up_limit, find_atom_v, name_of(tag))
    .then(
      [this, at, base, tag](const image_info& found) {
        images_.use(at->query.engine, tag, now());
        context_->metrics->prepared("hit");
        at->promise.deliver(prepared_image{name_of(tag), found.id, base});
      },
      [this, at, tag](const caf::error& e) {
        if (engine_code(e) == engine_errc::not_found) // somebody has removed it
          images_.drop(at->query.engine, tag);
        miss(at);
      });
}

// -- making ----------------------------------------------------------------------------------------------------------

void prepared_keeping::unpacked(const fill_order& order, const filled_inputs& what) {
  inputs_size size{what.entries, what.bytes};
  if (!order.keep || !what.plain || what.image_id.empty() || limit(order.engine) == 0 || !size.is_large())
    return;
  once_listed(order.engine, [=, this] {
    auto tag = prepared_tag(what.image_id, prepared_key(order.owner, order.user, order.inputs));
    if (!read_prepared_tag(tag) || !images_.listed(order.engine) || !images_.unpacked(order.engine, tag, now()))
      return;
    if (size.bytes > limit(order.engine))
      images_.not_made(order.engine, tag, now() + prepared_images::for_good);
    else
      make(order, what, tag);
  });
}

void prepared_keeping::make(const fill_order& order, const filled_inputs& what, const std::string& tag) {
  making_order wanted{order, what.image_id, name_of(tag), inputs_size{what.entries, what.bytes}.on_disk(), {}};
  for (const auto& one : images_.over(order.engine, limit(order.engine), what.bytes)) {
    images_.drop(order.engine, one);
    wanted.instead.push_back(name_of(one));
  }
  begin_(order.engine, [this, wanted, tag](const transfer& with) -> std::function<void()> {
    auto begun = now();
    auto made = make_prepared(with, wanted);
    auto took = std::chrono::duration_cast<duration>(now() - begun);
    return [=, this] {
      const auto& engine = wanted.inputs.engine;
      if (made) {
        images_.made(engine, tag, *made, now());
        context_->metrics->image_prepared(*made);
        spdlog::info("prepared an image with a task's inputs on engine {} in {}: {} bytes", engine,
                     format_duration(took), *made);
        return;
      }
      auto never = made.error() == files_errc::refused;
      images_.not_made(engine, tag,
                       now()
                         + (never ? std::chrono::seconds{prepared_images::for_good}
                                  : std::chrono::seconds{prepared_images::retry_after}));
      spdlog::info("no image is prepared with a task's inputs on engine {}; they are unpacked each time: {}", engine,
                   text_of(made.error()));
    };
  });
}

} // namespace davit
