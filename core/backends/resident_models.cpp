#include "backends/resident_models.h"

#include "hub/printable.h"
#include "spnl/error.h"
#include "util/memory.h"

namespace spnl::backends {

std::shared_ptr<Model> ResidentModels::hand_out(Resident& resident) {
  if (!resident.model->hold()) return nullptr;
  auto handle = std::make_shared<ModelHandle>(resident.model);
  resident.handle = handle;
  return handle;
}

std::shared_ptr<Model> ResidentModels::find(const std::string& key) {
  // One that is still closing stays: its plugin may not go before it has.
  std::erase_if(residents_, [](const Resident& r) { return r.model->closed(); });
  for (Resident& resident : residents_) {
    if (resident.key != key) continue;
    if (auto handle = resident.handle.lock()) return handle;
    if (auto handle = hand_out(resident)) return handle;
  }
  return nullptr;
}

std::shared_ptr<Model> ResidentModels::add(std::string key, std::shared_ptr<LoadedModel> model) {
  residents_.push_back({std::move(key), std::move(model), {}});
  return hand_out(residents_.back());
}

uint64_t ResidentModels::used_bytes() const {
  uint64_t bytes = 0;
  for (const Resident& resident : residents_) bytes += resident.model->memory_bytes();
  return bytes;
}

bool ResidentModels::fits(uint64_t bytes) const {
  if (limit_) return bytes <= *limit_ && used_bytes() <= *limit_ - bytes;
  return bytes <= available_memory().value_or(UINT64_MAX);
}

/// False: none is idle.
bool ResidentModels::unload_oldest(const std::string& newcomer) {
  auto oldest = residents_.end();
  for (auto it = residents_.begin(); it != residents_.end(); ++it) {
    const bool idle = it->handle.expired() && !it->model->closing();
    if (idle && (oldest == residents_.end() || it->model->last_used() < oldest->model->last_used()))
      oldest = it;
  }
  if (oldest == residents_.end()) return false;
  const std::shared_ptr<LoadedModel> model = std::move(oldest->model);
  residents_.erase(oldest);
  note_("unloading " + hub::printable(model->name()) + " (" + bytes_text(model->memory_bytes()) +
        "), the least recently used, to make room for " + hub::printable(newcomer));
  model->close();
  model->wait_closed();
  return true;
}

uint64_t ResidentModels::make_room(uint64_t bytes, const std::string& newcomer) {
  while (!fits(bytes) && unload_oldest(newcomer)) {
  }
  if (!limit_) return 0;
  const uint64_t used = used_bytes(), left = *limit_ > used ? *limit_ - used : 0;
  if (bytes > left)
    throw Error(bytes > *limit_ ? ErrorCode::kNotLoadable : ErrorCode::kNoRoom,
                "the model's files have " + bytes_text(bytes) + " and " + bytes_text(left) +
                    " of the memory limit of " + bytes_text(*limit_) + " are free",
                hub::printable(newcomer), "raise --memory-limit, or use a smaller model");
  // Half of what the weights leave is for the next one that comes while this one is in use.
  return bytes + (left - bytes) / 2;
}

void ResidentModels::close_all() {
  for (const Resident& resident : residents_) resident.model->close();
  for (const Resident& resident : residents_) resident.model->wait_closed();
  residents_.clear();
}

}  // namespace spnl::backends
