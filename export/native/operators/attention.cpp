// Attention on packed activations.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "operators.h"
#include "texts.h"

namespace sdp {

namespace {

constexpr float kMasked = -INFINITY;
// Softmax to base 2.
constexpr float kLog2e = 1.44269504f;

// With fewer keys rounding them takes longer than it saves.
constexpr int kFewestInt8Keys = 112;
// Up to this many, sums of shares (255) times values (127) stay within 32 bits.
constexpr int kMostInt8Keys = 1 << 16;

// Which keys the queries of one sequence (and head, where heads differ) see.
struct VisibleKeys {
  const uint8_t* mask;        // [rows][tokens], `rows` 1 or a query's own each; null where every key is seen
  bool same;                  // for every query, as with padding: `bias` alone decides
  int keys;                   // up to the last key that any query sees
  std::vector<float> bias;    // [keys]
  std::vector<int32_t> seen;  // [keys, rounded up to a group]: -1 for a key that some query may see

  VisibleKeys(const uint8_t* mask_of_all, int64_t rows, int64_t tokens)
      : mask(mask_of_all), same(true), keys(static_cast<int>(tokens)) {
    for (int64_t query = 1; query < rows && same; ++query)
      same = std::equal(mask, mask + tokens, mask + query * tokens);
    if (same && mask != nullptr)
      while (keys > 1 && !mask[keys - 1]) --keys;
    seen.resize(static_cast<size_t>(groups()) * kTokensPerGroup, 0);
    for (int key = 0; key < keys; ++key) {
      const bool shown = mask == nullptr || !same || mask[key];
      bias.push_back(shown ? 0.0f : kMasked);
      seen[static_cast<size_t>(key)] = shown ? -1 : 0;
    }
  }
  int groups() const { return (keys + kTokensPerGroup - 1) / kTokensPerGroup; }
  bool fit_int8() const { return keys >= kFewestInt8Keys && keys <= kMostInt8Keys; }
};

// Bytes, since a hostile bool need not be 0 or 1: [batch][heads][rows][tokens]. Without a mask, every key is seen.
struct Mask {
  const uint8_t* data = nullptr;
  int64_t batch = 1, heads = 1, rows = 1;

  int64_t of(int64_t sequence, int64_t head) const {
    return (batch == 1 ? 0 : sequence) * heads + (heads == 1 ? 0 : head);
  }
  std::vector<VisibleKeys> visible_keys(int64_t tokens) const {
    std::vector<VisibleKeys> found;
    for (int64_t i = 0; i < batch * heads; ++i)
      found.emplace_back(data == nullptr ? nullptr : data + i * rows * tokens, rows, tokens);
    return found;
  }
};

Mask read_mask(const OrtKernelContext* context, int64_t batch, int64_t heads, int64_t tokens) {
  const Tensor<bool> given = input<bool>(context, PackedAttentionInputs::mask);
  require(given.shape.size() == 4 && (given.shape[2] == 1 || given.shape[2] == tokens) && given.shape[3] == tokens,
          "the mask does not have the shape [batch, heads, 1 or tokens, tokens]");
  const Mask mask{reinterpret_cast<const uint8_t*>(given.data), given.shape[0], given.shape[1], given.shape[2]};
  require((mask.batch == 1 || mask.batch == batch) && (mask.heads == 1 || mask.heads == heads),
          "the mask has another number of sequences or heads");
  return mask;
}

// mask[query][key] as additions [groups][keys][16] for the queries from `first` on.
void expand_mask(const uint8_t* mask, int64_t tokens, int64_t first, int groups, float* out) {
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t key = 0; key < tokens; ++key)
      for (int64_t i = 0; i < kTokensPerGroup; ++i) {
        const int64_t query = first + g * kTokensPerGroup + i;
        *out++ = query >= tokens || mask[query * tokens + key] ? 0.0f : kMasked;
      }
}

// A text's queries, keys or values of one head: where they are, and how far from one group to the next.
struct Part {
  const float* data;
  size_t stride;
};

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

  void fill(const Kernels& kernels, size_t head, const Part& keys, const Part& values,
            const VisibleKeys& visible) const {
    const size_t first = head * groups;
    const int width = static_cast<int>(size);
    for (int g = 0; g < visible.groups(); ++g) {
      const size_t at = (first + g) * kTokensPerGroup;
      kernels.quantize_keys(keys.data + g * keys.stride, width, k.get() + at * size, k_scale.get() + at, k_sum.get() + at);
    }
    kernels.quantize_values(values.data, values.stride, visible.groups(), width, visible.seen.data(),
                            v.get() + first * kTokensPerGroup * size, v_scale.get() + head * size,
                            v_sum.get() + head * size);
  }

  // What `Kernels::attention` does, on the bytes of one head.
  void attend(const Kernels& kernels, size_t head, const Attention& a, int query_groups) const {
    const Buffer<uint8_t> q(query_groups * size * kTokensPerGroup);
    const Buffer<uint8_t> shares((a.keys + 3) / 4 * static_cast<size_t>(query_groups) * kTokensPerGroup * 4);
    float q_scale[kQueryGroups * kTokensPerGroup];
    for (int g = 0; g < query_groups; ++g)
      kernels.quantize(a.q + g * a.stride, a.head_size, q.get() + g * size * kTokensPerGroup,
                       q_scale + g * kTokensPerGroup);
    const size_t first = head * groups * kTokensPerGroup;
    kernels.attention_i8({q.get(), q_scale, k.get() + first * size, k_scale.get() + first, k_sum.get() + first,
                          v.get() + first * size, v_scale.get() + head * size, v_sum.get() + head * size, a.out,
                          a.out_stride, a.head_size, a.keys, a.scale, a.key_bias, a.mask, a.scores, shares.get()},
                         query_groups);
  }
};

using Inputs = PackedAttentionInputs;

class PackedAttention : public Operator {
 public:
  PackedAttention(const OrtKernelInfo*, bool int8);
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  bool int8_, first_tokens_;
  int64_t heads_, head_size_, q_first_, k_first_, v_first_;
  float scale_;  // to base 2
  bool masked_;
};

PackedAttention::PackedAttention(const OrtKernelInfo* info, bool int8)
    : kernels_(kernels()),
      int8_(int8),
      first_tokens_(flag(info, "first_tokens")),
      heads_(integer(info, "heads", 1, 1 << 12)),
      head_size_(integer(info, "head_size", 8, 1 << 12)),
      q_first_(integer(info, "q_first", 0, 1 << 20)),
      k_first_(integer(info, "k_first", 0, 1 << 20)),
      v_first_(integer(info, "v_first", 0, 1 << 20)),
      scale_(real(info, "scale") * kLog2e) {
  require(head_size_ % 8 == 0, "head_size is not a multiple of 8");
  masked_ = input_count(info) > Inputs::mask;
}

// Queries that are attended to together: up to kQueryGroups groups of a text.
struct Queries {
  size_t text;
  int64_t first, tokens;
};

void PackedAttention::compute(OrtKernelContext* context) const {
  const Packed q = packed_input(context, Inputs::q);
  const Packed k = packed_input(context, Inputs::k);
  const Packed v = packed_input(context, Inputs::v);
  const int64_t width = heads_ * head_size_;
  for (const Packed& part : {q, k, v})
    require(part.batch == q.batch && part.groups == q.groups && part.width == q.width, "q, k and v differ in shape");
  require(std::max({q_first_, k_first_, v_first_}) + width <= q.width, "the heads do not fit the width of q, k and v");
  const Texts texts = texts_of(context, Inputs::tokens, q);
  require(texts.padded || !masked_, "a mask and texts without padding exclude each other");

  const Mask mask = masked_ ? read_mask(context, q.batch, heads_, texts.length) : Mask{};
  const int64_t count_of_texts = static_cast<int64_t>(texts.all.size());
  float* y = first_tokens_ ? output(context, {1, Texts::groups_of(count_of_texts), width, kTokensPerGroup})
                           : output(context, {q.batch, q.groups, width, kTokensPerGroup});
  const size_t out_stride = static_cast<size_t>(width) * kTokensPerGroup;
  // Lanes without a token are zero.
  if (first_tokens_) std::fill(y, y + static_cast<size_t>(Texts::groups_of(count_of_texts)) * out_stride, 0.0f);
  if (q.all_groups() == 0) return;  // of however many texts

  std::vector<VisibleKeys> all_visible;
  if (texts.padded)
    all_visible = mask.visible_keys(texts.length);
  else
    for (const Text& text : texts.all) all_visible.emplace_back(nullptr, 1, text.tokens);
  const auto visible_of = [&](size_t text, int64_t head) -> const VisibleKeys& {
    return all_visible[texts.padded ? static_cast<size_t>(mask.of(static_cast<int64_t>(text), head)) : text];
  };

  const size_t stride = static_cast<size_t>(q.width) * kTokensPerGroup;
  const size_t size = static_cast<size_t>(head_size_) * kTokensPerGroup;  // of a group of one head
  // `tokens` of a text from its token `first` on: as they lie, or, where they do not begin a group, moved to `room`.
  const auto part = [&](const Packed& of, int64_t feature, const Text& text, int64_t first, int64_t tokens,
                        float* room) -> Part {
    const int64_t at = text.first + first, lane = at % kTokensPerGroup;
    const float* data = of.data + static_cast<size_t>(at / kTokensPerGroup) * stride + feature * kTokensPerGroup;
    if (lane == 0) return {data, stride};
    kernels_.align(data, stride, static_cast<int>(lane), static_cast<int>(tokens), static_cast<int>(head_size_), room);
    return {room, size};
  };

  int64_t most_groups = 0;
  for (const Text& text : texts.all) most_groups = std::max(most_groups, Texts::groups_of(text.tokens));
  const bool any =
      int8_ && std::any_of(all_visible.begin(), all_visible.end(), [](const VisibleKeys& s) { return s.fit_int8(); });
  const size_t all_heads = texts.all.size() * static_cast<size_t>(heads_);
  const Rounded rounded(any ? all_heads : 0, static_cast<size_t>(most_groups), static_cast<size_t>(head_size_));
  std::atomic<bool> out_of_memory{false};
  parallel(context, any ? all_heads : 0, [&](size_t index) {
    const size_t number = index / static_cast<size_t>(heads_);
    const int64_t head = static_cast<int64_t>(index) % heads_, first = head * head_size_;
    const Text& text = texts.all[number];
    const VisibleKeys& visible = visible_of(number, head);
    if (!visible.fit_int8()) return;
    try {
      const size_t room = text.first % kTokensPerGroup == 0 ? 0 : size * static_cast<size_t>(visible.groups());
      const Buffer<float> moved(2 * room);
      const Part keys = part(k, k_first_ + first, text, 0, visible.keys, moved.get());
      const Part values = part(v, v_first_ + first, text, 0, visible.keys, moved.get() + room);
      rounded.fill(kernels_, index, keys, values, visible);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the keys and values of attention");

  std::vector<Queries> all_queries;
  for (size_t text = 0; text < texts.all.size(); ++text) {
    const int64_t tokens = first_tokens_ ? std::min<int64_t>(1, texts.all[text].tokens) : texts.all[text].tokens;
    for (int64_t first = 0; first < tokens; first += kQueryGroups * kTokensPerGroup)
      all_queries.push_back({text, first, std::min<int64_t>(kQueryGroups * kTokensPerGroup, tokens - first)});
  }
  // Where the results of several texts share a group, they are placed in it one by one.
  const bool placed = first_tokens_ || !texts.padded;
  // After the last text, nothing else writes to its group.
  if (const size_t used = texts.kept.size() % kTokensPerGroup; used != 0 && !first_tokens_)
    for (float* lanes = y + static_cast<size_t>(q.groups - 1) * out_stride;
         lanes < y + static_cast<size_t>(q.groups) * out_stride; lanes += kTokensPerGroup)
      std::fill(lanes + used, lanes + kTokensPerGroup, 0.0f);
  parallel(context, all_queries.size() * static_cast<size_t>(heads_), [&](size_t index) {
    const Queries& queries = all_queries[index / static_cast<size_t>(heads_)];
    const int64_t head = static_cast<int64_t>(index) % heads_, feature = head * head_size_;
    const Text& text = texts.all[queries.text];
    const VisibleKeys& visible = visible_of(queries.text, head);
    const int count = static_cast<int>(Texts::groups_of(queries.tokens));
    const bool int8 = int8_ && visible.fit_int8();
    const size_t scores = static_cast<size_t>(visible.keys) * count * kTokensPerGroup;
    const size_t own = placed ? size * static_cast<size_t>(count) : 0;
    const size_t moved = text.first % kTokensPerGroup == 0 ? 0 : size * static_cast<size_t>(visible.groups());
    try {
      const Buffer<float> scratch(2 * own + 2 * moved + (visible.same ? scores : 2 * scores));
      float* const out = scratch.get();
      float* const keys_room = out + 2 * own;
      float* const scores_room = keys_room + 2 * moved;
      float* bias = visible.same ? nullptr : scores_room + scores;
      if (!visible.same) expand_mask(visible.mask, texts.length, queries.first, count, bias);
      const Part query = part(q, q_first_ + feature, text, queries.first, queries.tokens, out + own);
      Part keys{nullptr, 0}, values{nullptr, 0};
      if (!int8) {
        keys = part(k, k_first_ + feature, text, 0, visible.keys, keys_room);
        values = part(v, v_first_ + feature, text, 0, visible.keys, keys_room + moved);
      }
      // Where the first result goes, as a token of the output.
      const auto at = first_tokens_ ? static_cast<int64_t>(queries.text) : text.first + queries.first;
      float* const target =
          y + static_cast<size_t>(at / kTokensPerGroup) * out_stride + feature * kTokensPerGroup;
      const Attention attention{query.data,
                                keys.data,
                                values.data,
                                placed ? out : target,
                                query.stride,
                                placed ? size : out_stride,
                                static_cast<int>(head_size_),
                                visible.keys,
                                scale_,
                                visible.bias.data(),
                                bias,
                                scores_room};
      if (int8)
        rounded.attend(kernels_, queries.text * static_cast<size_t>(heads_) + static_cast<size_t>(head), attention,
                       count);
      else
        kernels_.attention(attention, count);
      if (!placed) return;
      const int lane = static_cast<int>(at % kTokensPerGroup);
      for (int g = 0; g < count; ++g) {
        const int64_t here = std::min<int64_t>(kTokensPerGroup, queries.tokens - g * kTokensPerGroup);
        kernels_.place(out + g * size, lane, static_cast<int>(here), static_cast<int>(head_size_),
                       target + g * out_stride, out_stride);
      }
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the scores of attention");
}

}  // namespace

std::unique_ptr<Operator> make_PackedAttention(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, false);
}
std::unique_ptr<Operator> make_PackedAttentionInt8(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, true);
}

}  // namespace sdp
