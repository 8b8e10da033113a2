#include "engine/model.h"

#include <algorithm>

#include "engine/engine.h"
#include "engine/model_identity.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/quantize_isq.h"

namespace spnl::mistralrs {
namespace {

/// Contexts that the pool holds at most when memory allows; a bigger pool would only be a bigger
/// prefix cache.
constexpr int64_t kMaxContextsInPool = 16;
/// Of the memory that is free after the weights are loaded.
constexpr uint64_t kShareOfFreeMemory = 2;  // a half

/// Half-precision keys and values cost 2e-4 of a score: nothing beside quantised weights, but
/// visible beside float32 ones.
cpu::KvType choose_kv_type(const Settings& settings, const Weights& weights) {
  return settings.kv_type.value_or(weights.all_float32 ? cpu::KvType::kF32 : cpu::KvType::kF16);
}

const char* kv_type_name(cpu::KvType type) {
  switch (type) {
    case cpu::KvType::kF32:
      return "f32";
    case cpu::KvType::kF16:
      return "f16";
    case cpu::KvType::kBF16:
      return "bf16";
    case cpu::KvType::kQ8_0:
      break;
  }
  return "q8_0";
}

/// Null: none is asked for, or there can be none.
std::unique_ptr<SpanStore> open_disk(const modelkit::ModelBundle& bundle, const Settings& settings,
                                     const Ops& ops, KvCache& cache, int32_t window,
                                     const Runtime::Note& note) {
  if (settings.disk.folder.empty()) return nullptr;
  const auto identify = [&](ChainHasher& hasher) {
    add_model(hasher, bundle, settings, cache.layer(0).type, ops.name());
    // Of windowed layers the blocks that are not behind: others in other blocks.
    if (window != 0)
      hasher.add(static_cast<uint64_t>(window)).add(static_cast<uint64_t>(cache.block_size()));
  };
  try {
    return std::make_unique<SpanStore>(settings.disk, identify, cache, note);
  } catch (const modelkit::Error& e) {
    note("span_cache: fragments are kept in memory only: " + std::string(e.what()));
    return nullptr;
  }
}

/// The window by which layers give tokens up: the largest that is smaller than the context, so that
/// there is something to give up. 0: none.
int32_t choose_window(const modelkit::ModelSpec& spec, int64_t context, int32_t block_size) {
  int64_t window = 0;
  for (const modelkit::LayerSpec& layer : spec.layers)
    if (int64_t{layer.attention.window} + block_size < context)
      window = std::max<int64_t>(window, layer.attention.window);
  return static_cast<int32_t>(window);
}

uint64_t choose_pool_bytes(const Settings& settings, uint64_t weights_bytes) {
  if (settings.kv_bytes != 0) return settings.kv_bytes;
  if (settings.memory_limit == 0) return available_memory() / kShareOfFreeMemory;
  return settings.memory_limit > weights_bytes ? settings.memory_limit - weights_bytes : 0;
}

BlockPool::Sizes choose_pool_sizes(const Settings& settings, const KvCache::BlockBytes& block,
                                   uint64_t bytes, int64_t context, int32_t window) {
  const int64_t per_context = (context + settings.block_size - 1) / settings.block_size;
  const auto most =
      static_cast<uint64_t>(std::min(per_context * kMaxContextsInPool, int64_t{INT32_MAX} / 2));
  const auto affordable = [&](uint64_t of_one) {
    return static_cast<int32_t>(of_one == 0 ? most : std::min(most, bytes / of_one));
  };
  BlockPool::Sizes sizes;
  sizes.blocks = {affordable(block.full), window == 0 ? 0 : affordable(block.both())};
  sizes.full_bytes = block.full;
  sizes.windowed_bytes = block.windowed;
  sizes.budget = std::min(bytes, most * block.both());
  sizes.window = window;
  if (affordable(block.both()) < 1)
    throw modelkit::Error(modelkit::ErrorCode::kNoMemory,
                          "the KV cache needs at least " + std::to_string(block.both()) +
                              " bytes for one block of " + std::to_string(settings.block_size) +
                              " tokens and may use " + std::to_string(bytes));
  return sizes;
}

}  // namespace

Runtime::Runtime(const modelkit::ModelBundle& bundle, const Settings& settings,
                 const LoadProgress& progress, const Note& note)
    : ops(make_ops(settings.isa, settings.threads)),
      weights(load_weights(*ops, bundle.spec, settings.memory_limit,
                           [&](uint64_t done, uint64_t total) {
                             forget_pages(*bundle.tensors);
                             return progress(done, total);
                           })) {
  const cpu::KvType type = choose_kv_type(settings, weights);
  const auto context = static_cast<int64_t>(settings.max_context);
  const int32_t window = choose_window(bundle.spec, context, settings.block_size);
  const BlockPool::Sizes sizes = choose_pool_sizes(
      settings, KvCache::block_bytes(bundle.spec, type, settings.block_size, window),
      choose_pool_bytes(settings, weights.bytes), context, window);
  cache = std::make_unique<KvCache>(bundle.spec, type, settings.block_size, sizes.blocks, window);
  pool = std::make_unique<BlockPool>(
      sizes, [this](BlockKind kind, int32_t block) { cache->discard(kind, block); });
  disk = open_disk(bundle, settings, *ops, *cache, window, note);
  kept = std::make_unique<BlockCache>(*pool, settings.block_size, settings.prefix_entries,
                                      disk ? disk->secret() : random_secret());
  transformer =
      std::make_unique<Transformer>(bundle.spec, weights, *cache, *ops, kTokenBudget, kLogitRows);
}

int64_t Runtime::longest_sequence() const {
  const int64_t block_size = cache->block_size();
  int64_t low = 0, high = int64_t{pool->sizes().blocks.full};  // blocks
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (pool->can_hold(most_blocks(*pool, middle * block_size, block_size, kTokenBudget)))
      low = middle;
    else
      high = middle - 1;
  }
  return low * block_size;
}

std::string Runtime::tokens_held(int64_t context) const {
  const int64_t block_size = cache->block_size();
  const int64_t in_short = pool->times({1, pool->window() == 0 ? 0 : 1}) * block_size;
  if (pool->window() == 0) return std::to_string(in_short) + " tokens";
  const int64_t in_long =
      pool->times(most_blocks(*pool, context, block_size, kTokenBudget)) * context;
  return std::to_string(in_short) + " tokens, " +
         std::to_string(std::max(in_long, longest_sequence())) + " in long sequences";
}

Model::Model(const std::filesystem::path& path, const modelkit::OpenOptions& options,
             const Settings& settings, const LoadProgress& progress, const Note& note)
    : Model(modelkit::open_model(path, options), settings, progress, note) {}

Model::Model(modelkit::ModelBundle bundle, const Settings& settings, const LoadProgress& progress,
             const Note& note)
    : bundle_(std::move(bundle)), settings_(settings) {
  vocab_ = bundle_.tokenizer->vocab_size();
  if (bundle_.spec.layers.empty()) return;
  const uint64_t trained = bundle_.spec.context;
  if (settings_.max_context > trained)
    note("context " + std::to_string(settings_.max_context) + " is more than the model's; using " +
         std::to_string(trained));
  if (settings_.max_context == 0 || settings_.max_context > trained)
    settings_.max_context = trained;
  context_ = static_cast<int64_t>(settings_.max_context);
  vocab_ = static_cast<int32_t>(bundle_.spec.vocab_size);
  if (!settings_.paged) settings_.block_size = static_cast<int32_t>(context_);
  for (const modelkit::RopeSpec& rope : bundle_.spec.ropes)
    if (rope.long_from != 0) long_from_ = rope.long_from;
  if (settings_.isq && modelkit::quantize_linears(bundle_.spec, *settings_.isq) == 0)
    note("MISTRALRS_ISQ changes nothing: the model's weights are quantised already");
  runtime_ = std::make_unique<Runtime>(bundle_, settings_, progress, note);
  engine_ = std::make_unique<Engine>(*this);
}

Model::~Model() = default;

bool Model::is_eos(int32_t id) const {
  return std::binary_search(bundle_.eos.begin(), bundle_.eos.end(), id);
}

std::string Model::piece(int32_t id) const {
  return pads(id) ? std::string() : bundle_.tokenizer->piece(id, /*spell_special=*/false);
}

std::string Model::summary() const {
  const auto mib = [](uint64_t bytes) {
    return std::to_string((bytes + (1 << 19)) >> 20) + " MiB";
  };
  if (runtime_ == nullptr) return bundle_.tensors->path().string() + ": vocabulary only";
  const KvCache& cache = *runtime_->cache;
  return bundle_.spec.architecture + ", weights " + mib(runtime_->weights.bytes) +
         ", KV cache up to " + mib(runtime_->pool->budget()) + " (" +
         runtime_->tokens_held(context_) + ", " + kv_type_name(cache.layer(0).type) +
         "), context " + std::to_string(context_) + ", activations " +
         mib(runtime_->transformer->workspace_bytes()) + ", kernels " +
         std::string(runtime_->ops->name()) + ", " + std::to_string(settings_.threads) +
         (settings_.threads == 1 ? " thread" : " threads");
}

}  // namespace spnl::mistralrs
