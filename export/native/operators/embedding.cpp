// Embeddings, straight into the packed layout.
#include <algorithm>
#include <atomic>

#include "operators.h"
#include "texts.h"

namespace sdp {

namespace {

// A table of rows in fp32, or in int8 with the scale of each.
struct Table {
  Tensor<float> floats;
  Tensor<int8_t> bytes;
  Tensor<float> scale;
  int64_t rows = 0;

  Table() = default;
  Table(Tensor<float> values, int64_t width) : floats(values) { check_shape(floats.shape, width); }
  Table(Tensor<int8_t> values, Tensor<float> scales, int64_t width) : bytes(values), scale(scales) {
    check_shape(bytes.shape, width);
    require(scale.shape == std::vector<int64_t>{rows, 1}, "a table does not have a scale for each row");
  }
  void check_shape(const std::vector<int64_t>& shape, int64_t width) {
    require(shape.size() == 2 && shape[0] > 0 && shape[1] == width, "a table does not have the shape [rows, width]");
    rows = shape[0];
  }
  void add(const Kernels& kernels, int64_t row, int64_t width, float* sum) const {
    if (bytes)
      kernels.add_row_i8(bytes.data + row * width, scale.data[row], static_cast<int>(width), sum);
    else
      kernels.add_row(floats.data + row * width, static_cast<int>(width), sum);
  }
};

// The rows that tokens take of a table.
struct Lookup {
  const Table* table;
  Tensor<int64_t> index;  // [batch or 1, tokens]; without one every token takes the first row

  Lookup(const OrtKernelContext* context, size_t input_index, const Table& of, const Texts& texts) : table(&of) {
    if (of.rows == 1) return;
    index = input<int64_t>(context, input_index);
    require(index.shape.size() == 2 && (index.shape[0] == 1 || index.shape[0] == texts.batch) &&
                index.shape[1] == texts.length,
            "indices have another batch or length than kept");
    for (int64_t at : texts.kept)
      require(row(at, texts) >= 0 && row(at, texts) < of.rows, "an index is beyond its table");
  }
  int64_t row(int64_t at, const Texts& texts) const {
    if (!index) return 0;
    return index.data[index.shape[0] == texts.batch ? at : at % texts.length];
  }
};

struct EmbeddingInputs {
  size_t words, gamma, beta, positions, types;
};

class PackedEmbedding : public Operator {
 public:
  PackedEmbedding(const OrtKernelInfo* info, const EmbeddingInputs& inputs, size_t count)
      : kernels_(kernels()),
        inputs_(inputs),
        gamma_(constant<float>(info, inputs.gamma)),
        beta_(constant<float>(info, inputs.beta)),
        epsilon_(real(info, "epsilon")),
        has_positions_(count > inputs.positions),
        has_types_(count > inputs.types) {
    require(gamma_.shape.size() == 1 && beta_.shape == gamma_.shape, "gamma and beta differ in shape");
    require(width() > 0 && width() <= 1 << 20, "gamma has no width that rows can have");
  }
  void compute(OrtKernelContext*) const override;

 protected:
  int64_t width() const { return gamma_.shape[0]; }

  const Kernels& kernels_;
  EmbeddingInputs inputs_;
  Tensor<float> gamma_, beta_;
  float epsilon_;
  bool has_positions_, has_types_;
  Table words_, positions_, types_;
};

void PackedEmbedding::compute(OrtKernelContext* context) const {
  const Texts texts = kept_texts(input<int64_t>(context, 0));
  std::vector<Lookup> lookups{{context, inputs_.words, words_, texts}};
  if (has_types_) lookups.emplace_back(context, inputs_.types, types_, texts);
  if (has_positions_) lookups.emplace_back(context, inputs_.positions, positions_, texts);
  const auto tokens = static_cast<int64_t>(texts.kept.size());
  const size_t stride = static_cast<size_t>(width()) * kTokensPerGroup;
  float* y = output(context, {1, texts.groups(), width(), kTokensPerGroup});
  std::atomic<bool> out_of_memory{false};
  parallel(context, static_cast<size_t>(texts.groups()), [&](size_t group) {
    const int64_t first = static_cast<int64_t>(group) * kTokensPerGroup;
    const int64_t here = std::min<int64_t>(kTokensPerGroup, tokens - first);
    try {
      const Buffer<float> sums(stride);
      std::fill(sums.get(), sums.get() + stride, 0.0f);
      const float* rows[kTokensPerGroup];
      for (int64_t t = 0; t < here; ++t) {
        float* sum = sums.get() + t * width();
        const int64_t at = texts.kept[static_cast<size_t>(first + t)];
        for (const Lookup& lookup : lookups) lookup.table->add(kernels_, lookup.row(at, texts), width(), sum);
        rows[t] = sum;
      }
      float* packed = y + group * stride;
      kernels_.pack(rows, static_cast<int>(here), static_cast<int>(width()), packed);
      kernels_.layer_norm(packed, nullptr, gamma_.data, beta_.data, epsilon_, static_cast<int>(width()), packed);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the sums of embeddings");
}

class EmbeddingF32 : public PackedEmbedding {
 public:
  explicit EmbeddingF32(const OrtKernelInfo* info)
      : PackedEmbedding(info, {In::words, In::gamma, In::beta, In::positions, In::types}, input_count(info)) {
    words_ = Table(constant<float>(info, In::word_table), width());
    if (has_positions_) positions_ = Table(constant<float>(info, In::position_table), width());
    if (has_types_) types_ = Table(constant<float>(info, In::type_table), width());
  }

 private:
  using In = PackedEmbeddingInputs;
};

class EmbeddingI8 : public PackedEmbedding {
 public:
  explicit EmbeddingI8(const OrtKernelInfo* info)
      : PackedEmbedding(info, {In::words, In::gamma, In::beta, In::positions, In::types}, input_count(info)) {
    words_ = Table(constant<int8_t>(info, In::word_table), constant<float>(info, In::word_scale), width());
    if (has_positions_)
      positions_ =
          Table(constant<int8_t>(info, In::position_table), constant<float>(info, In::position_scale), width());
    if (has_types_) types_ = Table(constant<float>(info, In::type_table), width());
  }

 private:
  using In = PackedEmbeddingInt8Inputs;
};

}  // namespace

std::unique_ptr<Operator> make_PackedEmbedding(const OrtKernelInfo* info) {
  return std::make_unique<EmbeddingF32>(info);
}
std::unique_ptr<Operator> make_PackedEmbeddingInt8(const OrtKernelInfo* info) {
  return std::make_unique<EmbeddingI8>(info);
}

}  // namespace sdp
