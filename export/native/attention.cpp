// Attention on packed activations.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "operators.h"

namespace sdp {

namespace {

constexpr float kLeftOut = -INFINITY;
// Softmax to base 2.
constexpr float kLog2e = 1.44269504f;

// With fewer keys rounding them takes longer than it saves.
constexpr int kFewestInt8Keys = 112;
// Up to this many, sums of shares (255) times values (127) stay within 32 bits.
constexpr int kMostInt8Keys = 1 << 16;

// What the queries of one sequence (and head, where heads differ) see.
struct Sight {
  bool same;                 // for every query, as with padding: `key_bias` says it all
  int keys;                  // up to the last key that any query sees
  std::vector<float> bias;   // [keys]
  std::vector<int32_t> seen; // [keys, rounded up to a group]: -1 for a key that some query may see

  void add(bool visible) {
    bias.push_back(visible ? 0.0f : kLeftOut);
    seen.push_back(visible ? -1 : 0);
  }
  int groups() const { return (keys + kTokensPerGroup - 1) / kTokensPerGroup; }
};

// `rows` rows of the mask: one for all queries, or one each. Without a mask, every key is seen.
Sight look(const uint8_t* mask, int64_t rows, int64_t tokens) {
  Sight sight{true, static_cast<int>(tokens), {}, {}};
  for (int64_t query = 1; query < rows && sight.same; ++query)
    sight.same = std::equal(mask, mask + tokens, mask + query * tokens);
  if (sight.same && mask != nullptr)
    while (sight.keys > 1 && !mask[sight.keys - 1]) --sight.keys;
  for (int key = 0; key < sight.keys; ++key) sight.add(mask == nullptr || mask[key] || !sight.same);
  sight.seen.resize(static_cast<size_t>(sight.groups()) * kTokensPerGroup, 0);
  return sight;
}

// mask[query][key] as additions [groups][keys][16] for the queries from `first` on.
void spread(const uint8_t* mask, int64_t tokens, int64_t first, int groups, float* out) {
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t key = 0; key < tokens; ++key)
      for (int64_t i = 0; i < kTokensPerGroup; ++i) {
        const int64_t query = first + g * kTokensPerGroup + i;
        *out++ = query >= tokens || mask[query * tokens + key] ? 0.0f : kLeftOut;
      }
}

// Keys and values of all heads as bytes; see AttentionI8.
struct Rounded {
  size_t groups, size;  // of a sequence, of a head
  Buffer<int8_t> k, v;
  Buffer<float> k_scale, v_scale;
  Buffer<int32_t> k_sum, v_sum;

  Rounded(size_t heads, size_t groups_of_keys, size_t head_size)
      : groups(groups_of_keys),
        size(head_size),
        k(heads * groups * kTokensPerGroup * size),
        v(heads * groups * kTokensPerGroup * size),
        k_scale(heads * groups * kTokensPerGroup),
        v_scale(heads * size),
        k_sum(heads * groups * kTokensPerGroup),
        v_sum(heads * size) {}

  void fill(const Kernels& kernels, size_t head, const float* keys, const float* values, size_t stride,
            const Sight& sight) const {
    const size_t first = head * groups;
    const int width = static_cast<int>(size);
    for (int g = 0; g < sight.groups(); ++g) {
      const size_t at = (first + g) * kTokensPerGroup;
      kernels.quantize_keys(keys + g * stride, width, k.get() + at * size, k_scale.get() + at, k_sum.get() + at);
    }
    kernels.quantize_values(values, stride, sight.groups(), width, sight.seen.data(),
                            v.get() + first * kTokensPerGroup * size, v_scale.get() + head * size,
                            v_sum.get() + head * size);
  }
};

}  // namespace

PackedAttention::PackedAttention(const OrtKernelInfo* info, bool int8)
    : kernels_(kernels()),
      int8_(int8),
      heads_(integer(info, "heads", 1, 1 << 12)),
      head_size_(integer(info, "head_size", 8, 1 << 12)),
      q_first_(integer(info, "q_first", 0, 1 << 20)),
      k_first_(integer(info, "k_first", 0, 1 << 20)),
      v_first_(integer(info, "v_first", 0, 1 << 20)),
      scale_(real(info, "scale") * kLog2e) {
  require(head_size_ % 8 == 0, "head_size is not a multiple of 8");
  size_t inputs = 0;
  check(ort::input_count(info, &inputs), "the inputs cannot be counted");
  masked_ = inputs > 4;
}

void PackedAttention::compute(OrtKernelContext* context) const {
  const Packed q = packed_input(context, 0);
  const Packed k = packed_input(context, 1);
  const Packed v = packed_input(context, 2);
  const Tensor<int64_t> length = input<int64_t>(context, 3);
  require(length.size() == 1, "tokens is not a single number");
  const int64_t tokens = *length.data;
  const int64_t width = heads_ * head_size_;
  for (const Packed& part : {q, k, v})
    require(part.batch == q.batch && part.groups == q.groups && part.width == q.width, "q, k and v differ in shape");
  require(tokens >= 0 && tokens <= q.groups * kTokensPerGroup && tokens > (q.groups - 1) * kTokensPerGroup,
          "tokens does not fit the packed activations");
  require(std::max({q_first_, k_first_, v_first_}) + width <= q.width, "the heads do not fit the width of q, k and v");

  const uint8_t* mask = nullptr;  // bytes: a hostile bool need not be 0 or 1
  int64_t mask_batch = 1, mask_heads = 1, mask_rows = 1;
  std::vector<Sight> sights;
  if (masked_) {
    const Tensor<bool> given = input<bool>(context, 4);
    require(given.shape.size() == 4 && (given.shape[2] == 1 || given.shape[2] == tokens) && given.shape[3] == tokens,
            "the mask does not have the shape [batch, heads, 1 or tokens, tokens]");
    mask = reinterpret_cast<const uint8_t*>(given.data);
    mask_batch = given.shape[0];
    mask_heads = given.shape[1];
    mask_rows = given.shape[2];
    require((mask_batch == 1 || mask_batch == q.batch) && (mask_heads == 1 || mask_heads == heads_),
            "the mask has another number of sequences or heads");
  }
  float* y = output(context, {q.batch, q.groups, width, kTokensPerGroup});
  if (q.all_groups() == 0) return;  // of however many sequences
  for (int64_t i = 0; i < mask_batch * mask_heads; ++i)
    sights.push_back(look(masked_ ? mask + i * mask_rows * tokens : nullptr, mask_rows, tokens));

  const int64_t pairs = (q.groups + kQueryGroups - 1) / kQueryGroups;
  const size_t stride = static_cast<size_t>(q.width) * kTokensPerGroup;
  const size_t out_stride = static_cast<size_t>(width) * kTokensPerGroup;
  const size_t size = static_cast<size_t>(head_size_);
  const auto seen_by = [&](int64_t sequence, int64_t head) {
    return (mask_batch == 1 ? 0 : sequence) * mask_heads + (mask_heads == 1 ? 0 : head);
  };
  const auto rounds = [&](const Sight& sight) {
    return int8_ && sight.keys >= kFewestInt8Keys && sight.keys <= kMostInt8Keys;
  };
  const auto part = [&](const Packed& of, int64_t sequence, int64_t first, int64_t head) {
    return of.data + sequence * q.groups * stride + (first + head * head_size_) * kTokensPerGroup;
  };

  const bool any = std::any_of(sights.begin(), sights.end(), rounds);
  const Rounded rounded(any ? static_cast<size_t>(q.batch * heads_) : 0, static_cast<size_t>(q.groups), size);
  if (any)
    parallel(context, static_cast<size_t>(q.batch * heads_), [&](size_t index) {
      const int64_t sequence = static_cast<int64_t>(index) / heads_, head = static_cast<int64_t>(index) % heads_;
      const Sight& sight = sights[static_cast<size_t>(seen_by(sequence, head))];
      if (rounds(sight))
        rounded.fill(kernels_, index, part(k, sequence, k_first_, head), part(v, sequence, v_first_, head), stride,
                     sight);
    });

  std::atomic<bool> out_of_memory{false};
  parallel(context, static_cast<size_t>(q.batch * heads_ * pairs), [&](size_t index) {
    const auto work = static_cast<int64_t>(index);
    const int64_t sequence = work / (heads_ * pairs);
    const int64_t head = work / pairs % heads_;
    const int64_t group = work % pairs * kQueryGroups;
    const int count = static_cast<int>(std::min<int64_t>(kQueryGroups, q.groups - group));
    const int64_t seen = seen_by(sequence, head);
    const Sight& sight = sights[static_cast<size_t>(seen)];
    const size_t room = static_cast<size_t>(sight.keys) * count * kTokensPerGroup;
    try {
      const Buffer<float> scratch(sight.same ? room : 2 * room);
      const float* bias = sight.same ? nullptr : scratch.get() + room;
      if (!sight.same)
        spread(mask + seen * mask_rows * tokens, tokens, group * kTokensPerGroup, count, scratch.get() + room);
      const float* queries = part(q, sequence, q_first_, head) + group * stride;
      float* out = y + (sequence * q.groups + group) * out_stride + head * head_size_ * kTokensPerGroup;
      if (!rounds(sight)) {
        kernels_.attention({queries, part(k, sequence, k_first_, head), part(v, sequence, v_first_, head), out, stride,
                            out_stride, static_cast<int>(size), sight.keys, scale_, sight.bias.data(), bias,
                            scratch.get()},
                           count);
        return;
      }
      const Buffer<uint8_t> bytes(count * size * kTokensPerGroup);
      const Buffer<uint8_t> shares((sight.keys + 3) / 4 * static_cast<size_t>(count) * kTokensPerGroup * 4);
      float query_scale[kQueryGroups * kTokensPerGroup];
      for (int g = 0; g < count; ++g)
        kernels_.quantize(queries + g * stride, static_cast<int>(size), bytes.get() + g * size * kTokensPerGroup,
                          query_scale + g * kTokensPerGroup);
      const size_t one = static_cast<size_t>(sequence * heads_ + head);
      const size_t first = one * rounded.groups * kTokensPerGroup;
      kernels_.attention_i8({bytes.get(), query_scale, rounded.k.get() + first * size, rounded.k_scale.get() + first,
                             rounded.k_sum.get() + first, rounded.v.get() + first * size,
                             rounded.v_scale.get() + one * size, rounded.v_sum.get() + one * size, out, out_stride,
                             static_cast<int>(size), sight.keys, scale_, sight.bias.data(), bias,
                             scratch.get(), shares.get()},
                            count);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the scores of attention");
}

}  // namespace sdp
