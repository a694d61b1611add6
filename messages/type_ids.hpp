// The one type-id block: what may travel in messages. Included by actors.hpp; its objects are initialised in main.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"
#include "messages/errors.hpp"
#include "messages/fleet.hpp"
#include "messages/log.hpp"
#include "messages/task.hpp"

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/is_error_code_enum.hpp>
#include <caf/type_id.hpp>

#include <functional>
#include <memory>

namespace davit {

struct store_handles;
struct log_handles;
struct sink_handles;
struct engine_handles;
struct sandbox_handles;
struct executor_handles;
struct scheduler_handles;
struct fetcher_handles;
struct reaper_handles;
struct fleet_handles;
struct api_handles;
struct files_handles;
struct directory;
struct live_executors;

namespace store {
class blob_catalogue;
}
namespace transport {
class byte_channel;
}

/// A piece of work that another thread hands to an actor, to be run among its messages. Never leaves the process.
struct continuation {
  std::function<void()> run;
};

/// A piece of work on the catalogue of blobs, for the store keeper's next commit; it may be run more than once. What it
/// refuses is its own to tell. Never leaves the process.
struct catalogue_work {
  std::function<void(store::blob_catalogue&)> run;
};

/// The bytes of a tar, on their way to an engine or from it. When the last copy is gone, nobody is at the other end.
/// Never leaves the process.
struct file_stream {
  std::shared_ptr<transport::byte_channel> channel;
};

} // namespace davit

CAF_BEGIN_TYPE_ID_BLOCK(davit, caf::first_custom_type_id)

CAF_ADD_TYPE_ID(davit, (davit::uuid))
CAF_ADD_TYPE_ID(davit, (davit::store_errc))
CAF_ADD_TYPE_ID(davit, (davit::engine_errc))
CAF_ADD_TYPE_ID(davit, (davit::log_errc))
CAF_ADD_TYPE_ID(davit, (davit::fleet_errc))
CAF_ADD_TYPE_ID(davit, (davit::peer_hello))
CAF_ADD_TYPE_ID(davit, (davit::log_block))
CAF_ADD_TYPE_ID(davit, (davit::secret))
CAF_ADD_TYPE_ID(davit, (davit::task_spec))
CAF_ADD_TYPE_ID(davit, (davit::task))
CAF_ADD_TYPE_ID(davit, (davit::task_receipt))
CAF_ADD_TYPE_ID(davit, (davit::task_event))
CAF_ADD_TYPE_ID(davit, (davit::task_query))
CAF_ADD_TYPE_ID(davit, (davit::task_page))
CAF_ADD_TYPE_ID(davit, (davit::task_counts))
CAF_ADD_TYPE_ID(davit, (davit::attempt_key))
CAF_ADD_TYPE_ID(davit, (davit::attempt_status))
CAF_ADD_TYPE_ID(davit, (davit::claim_request))
CAF_ADD_TYPE_ID(davit, (davit::claim_answer))
CAF_ADD_TYPE_ID(davit, (davit::claimed_attempt))
CAF_ADD_TYPE_ID(davit, (davit::attempt_progress))
CAF_ADD_TYPE_ID(davit, (davit::attempt_result))
CAF_ADD_TYPE_ID(davit, (davit::agent_status))
CAF_ADD_TYPE_ID(davit, (davit::adopt_request))
CAF_ADD_TYPE_ID(davit, (davit::adoption))
CAF_ADD_TYPE_ID(davit, (davit::engine_status))
CAF_ADD_TYPE_ID(davit, (davit::image_info))
CAF_ADD_TYPE_ID(davit, (davit::pull_progress))
CAF_ADD_TYPE_ID(davit, (davit::container_plan))
CAF_ADD_TYPE_ID(davit, (davit::container_status))
CAF_ADD_TYPE_ID(davit, (davit::container_summary))
CAF_ADD_TYPE_ID(davit, (davit::engine_event))
CAF_ADD_TYPE_ID(davit, (davit::log_batch))
CAF_ADD_TYPE_ID(davit, (davit::log_lease))
CAF_ADD_TYPE_ID(davit, (davit::log_page))
CAF_ADD_TYPE_ID(davit, (davit::log_query))
CAF_ADD_TYPE_ID(davit, (davit::log_request))
CAF_ADD_TYPE_ID(davit, (davit::log_summary))
CAF_ADD_TYPE_ID(davit, (davit::sink_status))
CAF_ADD_TYPE_ID(davit, (davit::store_handles))
CAF_ADD_TYPE_ID(davit, (davit::log_handles))
CAF_ADD_TYPE_ID(davit, (davit::sink_handles))
CAF_ADD_TYPE_ID(davit, (davit::engine_handles))
CAF_ADD_TYPE_ID(davit, (davit::sandbox_handles))
CAF_ADD_TYPE_ID(davit, (davit::executor_handles))
CAF_ADD_TYPE_ID(davit, (davit::scheduler_handles))
CAF_ADD_TYPE_ID(davit, (davit::fetcher_handles))
CAF_ADD_TYPE_ID(davit, (davit::reaper_handles))
CAF_ADD_TYPE_ID(davit, (davit::fleet_handles))
CAF_ADD_TYPE_ID(davit, (davit::api_handles))
CAF_ADD_TYPE_ID(davit, (davit::directory))
CAF_ADD_TYPE_ID(davit, (davit::continuation))
CAF_ADD_TYPE_ID(davit, (davit::live_executors))
CAF_ADD_TYPE_ID(davit, (davit::duration))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::task_id>))
CAF_ADD_TYPE_ID(davit, (std::vector<std::string>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::agent_status>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::claimed_attempt>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::container_summary>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::engine_event>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::engine_status>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::task_event>))
CAF_ADD_TYPE_ID(davit, (std::optional<davit::attempt_status>))
CAF_ADD_TYPE_ID(davit, (davit::sandbox))
CAF_ADD_TYPE_ID(davit, (davit::log_end))
CAF_ADD_TYPE_ID(davit, (davit::ended_attempts))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::attempt_key>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::log_extent>))

CAF_ADD_ATOM(davit, davit, accept_atom)
CAF_ADD_ATOM(davit, davit, adopt_atom)
CAF_ADD_ATOM(davit, davit, agents_atom)
CAF_ADD_ATOM(davit, davit, attach_atom)
CAF_ADD_ATOM(davit, davit, beat_atom)
CAF_ADD_ATOM(davit, davit, cancel_atom)
CAF_ADD_ATOM(davit, davit, claim_atom)
CAF_ADD_ATOM(davit, davit, close_atom)
CAF_ADD_ATOM(davit, davit, commit_atom)
CAF_ADD_ATOM(davit, davit, count_atom)
CAF_ADD_ATOM(davit, davit, create_atom)
CAF_ADD_ATOM(davit, davit, drain_atom)
CAF_ADD_ATOM(davit, davit, ended_atom)
CAF_ADD_ATOM(davit, davit, engines_atom)
CAF_ADD_ATOM(davit, davit, events_atom)
CAF_ADD_ATOM(davit, davit, expire_atom)
CAF_ADD_ATOM(davit, davit, fence_atom)
CAF_ADD_ATOM(davit, davit, files_atom)
CAF_ADD_ATOM(davit, davit, finish_atom)
CAF_ADD_ATOM(davit, davit, find_atom)
CAF_ADD_ATOM(davit, davit, forget_atom)
CAF_ADD_ATOM(davit, davit, hello_atom)
CAF_ADD_ATOM(davit, davit, history_atom)
CAF_ADD_ATOM(davit, davit, images_atom)
CAF_ADD_ATOM(davit, davit, init_atom)
CAF_ADD_ATOM(davit, davit, inspect_atom)
CAF_ADD_ATOM(davit, davit, limits_atom)
CAF_ADD_ATOM(davit, davit, list_atom)
CAF_ADD_ATOM(davit, davit, log_atom)
CAF_ADD_ATOM(davit, davit, network_atom)
CAF_ADD_ATOM(davit, davit, news_atom)
CAF_ADD_ATOM(davit, davit, note_atom)
CAF_ADD_ATOM(davit, davit, open_atom)
CAF_ADD_ATOM(davit, davit, ping_atom)
CAF_ADD_ATOM(davit, davit, progress_atom)
CAF_ADD_ATOM(davit, davit, pull_atom)
CAF_ADD_ATOM(davit, davit, read_atom)
CAF_ADD_ATOM(davit, davit, reap_atom)
CAF_ADD_ATOM(davit, davit, record_atom)
CAF_ADD_ATOM(davit, davit, remove_atom)
CAF_ADD_ATOM(davit, davit, rename_atom)
CAF_ADD_ATOM(davit, davit, retire_atom)
CAF_ADD_ATOM(davit, davit, ship_atom)
CAF_ADD_ATOM(davit, davit, since_atom)
CAF_ADD_ATOM(davit, davit, size_atom)
CAF_ADD_ATOM(davit, davit, start_atom)
CAF_ADD_ATOM(davit, davit, stop_atom)
CAF_ADD_ATOM(davit, davit, take_atom)
CAF_ADD_ATOM(davit, davit, tick_atom)
CAF_ADD_ATOM(davit, davit, wait_atom)
CAF_ADD_ATOM(davit, davit, wire_atom)
CAF_ADD_ATOM(davit, davit, withdraw_atom)

// Behind all others, whose numbers an older agent of the fleet knows.
CAF_ADD_TYPE_ID(davit, (davit::image_grant))
CAF_ADD_TYPE_ID(davit, (davit::pull_stage))
CAF_ADD_ATOM(davit, davit, grant_atom)
CAF_ADD_TYPE_ID(davit, (davit::volume_key))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::volume_key>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::volume_summary>))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::owner_counts>))
CAF_ADD_ATOM(davit, davit, volumes_atom)
CAF_ADD_TYPE_ID(davit, (davit::files_errc))
CAF_ADD_TYPE_ID(davit, (davit::files_handles))
CAF_ADD_TYPE_ID(davit, (davit::catalogue_work))
CAF_ADD_TYPE_ID(davit, (davit::file_stream))
CAF_ADD_TYPE_ID(davit, (davit::fill_order))
CAF_ADD_TYPE_ID(davit, (davit::collect_order))
CAF_ADD_TYPE_ID(davit, (davit::upload_summary))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::collected_output>))
CAF_ADD_ATOM(davit, davit, fill_atom)
CAF_ADD_ATOM(davit, davit, collect_atom)
CAF_ADD_ATOM(davit, davit, upload_atom)
CAF_ADD_TYPE_ID(davit, (davit::cache_order))
CAF_ADD_TYPE_ID(davit, (std::vector<davit::used_cache>))
CAF_ADD_TYPE_ID(davit, (davit::collected_files))
CAF_ADD_TYPE_ID(davit, (davit::memo_answer))
CAF_ADD_TYPE_ID(davit, (davit::attempt_token))
CAF_ADD_ATOM(davit, davit, memo_atom)
CAF_ADD_TYPE_ID(davit, (davit::prepared_query))
CAF_ADD_TYPE_ID(davit, (davit::prepared_trees))
CAF_ADD_TYPE_ID(davit, (davit::volume_plan))
CAF_ADD_TYPE_ID(davit, (davit::volume_summary))

CAF_END_TYPE_ID_BLOCK(davit)

CAF_ERROR_CODE_ENUM(davit::store_errc)
CAF_ERROR_CODE_ENUM(davit::engine_errc)
CAF_ERROR_CODE_ENUM(davit::log_errc)
CAF_ERROR_CODE_ENUM(davit::fleet_errc)
CAF_ERROR_CODE_ENUM(davit::files_errc)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::store_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::log_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::sink_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::engine_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::sandbox_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::executor_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::scheduler_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::fetcher_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::reaper_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::fleet_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::api_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::directory)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::continuation)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::live_executors)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::files_handles)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::catalogue_work)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(davit::file_stream)
