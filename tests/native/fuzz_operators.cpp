// A coverage-guided fuzzer for the operators, with any model and input that a hostile user can make. A status is an
// answer; a crash, a sanitizer's report, a leak, a hang or an output that is not written in full is a finding.
//
// Each input starts from a small case that is valid; its bytes then edit attributes, shapes, element types and data.
// For how to build and run it see test_fuzz.py. A new operator needs its function in `valid`.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>

#include "stand_in.h"

extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions*, const OrtApiBase*);

namespace {

using namespace sdp::ort;

// The fuzzer's bytes, as numbers; zeros when they are used up.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | next();
    return value;
  }
  // Below `bound`, which is at most 2^16.
  size_t below(size_t bound) { return bound == 0 ? 0 : number(bound > 256 ? 2 : 1) % bound; }

 private:
  uint8_t next() {
    if (left_ == 0) return 0;
    --left_;
    return *at_++;
  }
  const uint8_t* at_;
  size_t left_;
};

size_t element_size(int type) {
  switch (type) {
    case kInt64:
      return 8;
    case kFloat:
      return 4;
    case kUint16:
      return 2;
    default:
      return 1;
  }
}

size_t count(const std::vector<int64_t>& shape) {
  size_t product = 1;
  for (int64_t dimension : shape) product *= static_cast<size_t>(dimension);
  return product;
}

size_t size_of(const Input& input) { return count(input.value.shape) * element_size(input.value.type); }

Input tensor(int type, std::vector<int64_t> shape, bool constant, Bytes& bytes) {
  const size_t elements = count(shape);
  Input input{OrtValue::of(type, std::move(shape), elements * element_size(type)), constant, true};
  // One byte for all: what is left of the fuzzer's bytes goes into edits, which reach further.
  const size_t first = bytes.number(1);
  for (size_t i = 0; i < elements; ++i) {
    const auto small = static_cast<int>((first + i * 37) % 251);
    if (type == kFloat) reinterpret_cast<float*>(input.value.data.get())[i] = static_cast<float>(small - 128) / 16;
    if (type == kInt8 || type == kUint8) input.value.data.get()[i] = static_cast<char>(small);
    if (type == kBool) input.value.data.get()[i] = small % 3 != 0;
  }
  return input;
}

template <class T>
T* data(Input& input) {
  return reinterpret_cast<T*>(input.value.data.get());
}

struct Size {
  int64_t batch, groups, in, out;
};

Input packed(const Size& size, int64_t width, Bytes& bytes) {
  return tensor(kFloat, {size.batch, size.groups, width, 16}, false, bytes);
}

// Bias; sometimes residual, gamma, beta.
void add_epilogue(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  info.inputs.push_back(tensor(kFloat, {size.out}, true, bytes));
  info.reals["epsilon"] = 1e-5f;
  info.texts["activation"] = std::vector<std::string>{"none", "gelu", "gelu_tanh", "silu"}[bytes.below(4)];
  if (bytes.below(2) == 0) return;
  info.texts["activation"] = "none";
  info.inputs.push_back(packed(size, size.out, bytes));
  for (int i = 0; i < 2; ++i) info.inputs.push_back(tensor(kFloat, {size.out}, true, bytes));
}

void features(OrtKernelInfo& info, const Size& size) {
  info.integers["in_features"] = size.in;
  info.integers["out_features"] = size.out;
}

// The same number of elements in every row of every slice: a valid weight of any shape.
void sparse(OrtKernelInfo& info, Size size, bool int8, Bytes& bytes) {
  const int64_t columns = int8 ? size.in / 4 : size.in;
  const int64_t slice = 1 + static_cast<int64_t>(bytes.below(40));
  const int64_t block = 4 * (1 + static_cast<int64_t>(bytes.below(8)));
  const int64_t slices = (columns + slice - 1) / slice;
  std::vector<uint16_t> widths;
  std::vector<uint8_t> rows, column;
  std::minstd_rand random(static_cast<unsigned>(bytes.number(1)));
  const auto below = [&random](int64_t bound) { return static_cast<int64_t>(random() % static_cast<uint64_t>(bound)); };
  for (int64_t top = 0; top < size.out; top += block)
    for (int64_t s = 0; s < slices; ++s) {
      const int64_t here = std::min(slice, columns - s * slice), height = std::min(block, size.out - top);
      for (int64_t quad = 0; quad < height; quad += 4) {
        widths.push_back(static_cast<uint16_t>(below(here + 1)));
        for (int64_t r = 0; r < 4; ++r) rows.push_back(static_cast<uint8_t>(quad + r));
        for (int i = 0; i < 4 * widths.back(); ++i)
          column.push_back(static_cast<uint8_t>(below(here)));
      }
    }
  const auto elements = static_cast<int64_t>(column.size());
  info.inputs.push_back(packed(size, size.in, bytes));
  info.inputs.push_back(int8 ? tensor(kInt8, {elements, 4}, true, bytes) : tensor(kFloat, {elements}, true, bytes));
  info.inputs.push_back(tensor(kUint8, {elements}, true, bytes));
  info.inputs.push_back(tensor(kUint8, {static_cast<int64_t>(rows.size())}, true, bytes));
  info.inputs.push_back(tensor(kUint16, {static_cast<int64_t>(widths.size())}, true, bytes));
  std::copy(column.begin(), column.end(), data<uint8_t>(info.inputs[2]));
  std::copy(rows.begin(), rows.end(), data<uint8_t>(info.inputs[3]));
  std::copy(widths.begin(), widths.end(), data<uint16_t>(info.inputs[4]));
  if (int8) info.inputs.push_back(tensor(kFloat, {size.out}, true, bytes));
  features(info, size);
  info.integers["slice"] = slice;
  info.integers["block"] = block;
  add_epilogue(info, size, bytes);
}

void dense(OrtKernelInfo& info, Size size, bool int8, Bytes& bytes) {
  // A dense product takes 192 rows at a time.
  size.out = (size.out + 15) / 16 * 16 * (bytes.below(8) == 0 ? 6 : 1);
  info.inputs.push_back(packed(size, size.in, bytes));
  info.inputs.push_back(int8 ? tensor(kInt8, {size.out / 16, size.in / 4, 16, 4}, true, bytes)
                             : tensor(kFloat, {size.out / 16, size.in, 16}, true, bytes));
  if (int8) info.inputs.push_back(tensor(kFloat, {size.out}, true, bytes));
  features(info, size);
  add_epilogue(info, size, bytes);
}

Input number(int64_t value, Bytes& bytes) {
  Input input = tensor(kInt64, {1}, true, bytes);
  *data<int64_t>(input) = value;
  return input;
}

// Which of [batch, length] are tokens: about two in three. `tokens` is how many.
Input kept(int64_t batch, int64_t length, Bytes& bytes, int64_t& tokens) {
  Input input = tensor(kInt64, {batch, length}, false, bytes);
  const size_t first = bytes.number(1);
  tokens = 0;
  for (int64_t i = 0; i < batch * length; ++i) {
    data<int64_t>(input)[i] = (first + static_cast<size_t>(i) * 7) % 3 != 0;
    tokens += data<int64_t>(input)[i];
  }
  return input;
}

// Packed activations of a width, and which tokens they have: a number of them, or those of texts without padding.
void texts(OrtKernelInfo& info, Size size, int64_t width, int copies, Bytes& bytes) {
  int64_t tokens = size.groups * 16 - static_cast<int64_t>(bytes.below(16));
  if (bytes.below(2)) {
    for (int i = 0; i < copies; ++i) info.inputs.push_back(packed(size, width, bytes));
    info.inputs.push_back(number(tokens, bytes));
    return;
  }
  Input which = kept(size.batch, tokens, bytes, tokens);
  size.batch = 1, size.groups = (tokens + 15) / 16;
  for (int i = 0; i < copies; ++i) info.inputs.push_back(packed(size, width, bytes));
  info.inputs.push_back(std::move(which));
}

void embedding(OrtKernelInfo& info, const Size& size, bool int8, Bytes& bytes) {
  constexpr int64_t kRows = 9;
  const int64_t length = size.groups * 16 - static_cast<int64_t>(bytes.below(16));
  int64_t tokens = 0;
  info.inputs.push_back(kept(size.batch, length, bytes, tokens));
  const auto lookup = [&](int64_t batch, bool rounded, int64_t rows) {
    Input index = tensor(kInt64, {batch, length}, false, bytes);
    for (int64_t i = 0; i < batch * length; ++i) data<int64_t>(index)[i] = i % rows;
    info.inputs.push_back(std::move(index));
    info.inputs.push_back(tensor(rounded ? kInt8 : kFloat, {rows, size.in}, true, bytes));
    if (rounded) info.inputs.push_back(tensor(kFloat, {rows, 1}, true, bytes));
  };
  lookup(size.batch, int8, kRows);
  for (int i = 0; i < 2; ++i) info.inputs.push_back(tensor(kFloat, {size.in}, true, bytes));
  info.reals["epsilon"] = 1e-5f;
  if (bytes.below(2) == 0) return;
  lookup(bytes.below(2) ? size.batch : 1, int8, kRows);
  if (bytes.below(2)) lookup(size.batch, false, 1 + static_cast<int64_t>(bytes.below(2)));
}

// Up to 16 groups of keys, since attention in int8 begins at seven.
void attention(OrtKernelInfo& info, Size size, Bytes& bytes) {
  size.groups = 1 + static_cast<int64_t>(bytes.below(16));
  const int64_t heads = 1 + static_cast<int64_t>(bytes.below(2));
  const int64_t head_size = 8 * (1 + static_cast<int64_t>(bytes.below(3)));
  texts(info, size, 3 * heads * head_size, 3, bytes);
  const int64_t tokens = *data<int64_t>(info.inputs.back());
  const std::vector<int64_t> of_texts = info.inputs.back().value.shape;
  if (of_texts.size() == 2 && bytes.below(2)) {
    info.inputs.push_back(tensor(kBool, {1}, false, bytes));
    info.inputs.back().given = false;
    info.inputs.push_back(tensor(kFloat, {1, bytes.below(2) ? heads : 1, of_texts[1], of_texts[1]}, false, bytes));
  } else if (of_texts.size() == 1 && bytes.below(2))
    info.inputs.push_back(tensor(kBool,
                                 {bytes.below(2) ? size.batch : 1, bytes.below(2) ? heads : 1,
                                  bytes.below(2) ? tokens : 1, tokens},
                                 false, bytes));
  info.integers = {{"heads", heads}, {"head_size", head_size}, {"q_first", 0}, {"k_first", heads * head_size},
                   {"v_first", 2 * heads * head_size}, {"first_tokens", bytes.below(4) == 0}};
  info.reals["scale"] = 0.5f;
}

// Texts without padding, whose pairs of tokens have rows of two tables.
void disentangled(OrtKernelInfo& info, Size size, Bytes& bytes) {
  const int64_t heads = 1 + static_cast<int64_t>(bytes.below(2));
  const int64_t head_size = 8 * (1 + static_cast<int64_t>(bytes.below(3)));
  const int64_t length = size.groups * 16 - static_cast<int64_t>(bytes.below(16));
  int64_t tokens = 0;
  Input which = kept(size.batch, length, bytes, tokens);
  size.batch = 1, size.groups = (tokens + 15) / 16;
  for (int i = 0; i < 3; ++i) info.inputs.push_back(packed(size, 3 * heads * head_size, bytes));
  info.inputs.push_back(std::move(which));
  const int64_t groups = 1 + static_cast<int64_t>(bytes.below(3));
  for (int i = 0; i < 2; ++i) {
    info.inputs.push_back(tensor(kInt64, {1, length, length}, false, bytes));
    const size_t first = bytes.number(1);
    for (int64_t at = 0; at < length * length; ++at)
      data<int64_t>(info.inputs.back())[at] =
          static_cast<int64_t>((first + static_cast<size_t>(at) * 5) % static_cast<size_t>(groups * 16));
  }
  for (int i = 0; i < 2; ++i) info.inputs.push_back(tensor(kFloat, {heads, groups, head_size, 16}, true, bytes));
  info.integers = {{"heads", heads}, {"head_size", head_size}, {"q_first", 0}, {"k_first", heads * head_size},
                   {"v_first", 2 * heads * head_size}, {"first_tokens", bytes.below(4) == 0}};
  info.reals["scale"] = 0.5f;
}

// A valid case of each operator, by its name.
namespace valid {

void Pack(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  const int64_t tokens = size.groups * 16 - static_cast<int64_t>(bytes.below(16));
  info.inputs.push_back(tensor(kFloat, {size.batch, tokens, size.in}, false, bytes));
  int64_t count = 0;
  if (bytes.below(2)) info.inputs.push_back(kept(size.batch, tokens, bytes, count));
}
void PackedEmbedding(OrtKernelInfo& info, const Size& size, Bytes& bytes) { embedding(info, size, false, bytes); }
void PackedEmbeddingInt8(OrtKernelInfo& info, const Size& size, Bytes& bytes) { embedding(info, size, true, bytes); }
void Unpack(OrtKernelInfo& info, const Size& size, Bytes& bytes) { texts(info, size, size.in, 1, bytes); }
void FirstTokens(OrtKernelInfo& info, const Size& size, Bytes& bytes) { texts(info, size, size.in, 1, bytes); }
void SparseLinear(OrtKernelInfo& info, const Size& size, Bytes& bytes) { sparse(info, size, false, bytes); }
void SparseLinearInt8(OrtKernelInfo& info, const Size& size, Bytes& bytes) { sparse(info, size, true, bytes); }
void DenseLinear(OrtKernelInfo& info, const Size& size, Bytes& bytes) { dense(info, size, false, bytes); }
void DenseLinearInt8(OrtKernelInfo& info, const Size& size, Bytes& bytes) { dense(info, size, true, bytes); }
void PackedAdd(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  for (int i = 0; i < 2; ++i) info.inputs.push_back(packed(size, size.in, bytes));
}
void PackedNorm(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  info.inputs.push_back(packed(size, size.in, bytes));
  const int vectors = 1 + static_cast<int>(bytes.below(2));
  for (int i = 0; i < vectors; ++i) info.inputs.push_back(tensor(kFloat, {size.in}, true, bytes));
  info.reals["epsilon"] = 1e-5f;
}
void PackedGate(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  info.inputs.push_back(packed(size, 2 * size.out, bytes));
  info.texts["activation"] = std::vector<std::string>{"none", "gelu", "gelu_tanh", "silu"}[bytes.below(4)];
}
void PackedRotary(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  const int64_t heads = 1 + static_cast<int64_t>(bytes.below(2)), half = 1 + static_cast<int64_t>(bytes.below(5));
  const int64_t first = static_cast<int64_t>(bytes.below(3));
  texts(info, size, first + 2 * heads * half, 1, bytes);
  const Input& given = info.inputs.back();
  const bool padded = given.value.shape.size() == 1;
  const int64_t batch = padded ? size.batch : given.value.shape[0];
  const int64_t tokens = padded ? *data<int64_t>(info.inputs.back()) : given.value.shape[1];
  const std::vector<int64_t> shape{bytes.below(2) ? batch : 1, tokens, half};
  for (int i = 0; i < 2; ++i) info.inputs.push_back(tensor(kFloat, shape, false, bytes));
  info.integers = {{"heads", heads}, {"head_size", 2 * half}, {"first", first}};
}
void PackedAttention(OrtKernelInfo& info, const Size& size, Bytes& bytes) { attention(info, size, bytes); }
void PackedDisentangledAttention(OrtKernelInfo& info, const Size& size, Bytes& bytes) {
  disentangled(info, size, bytes);
}
void PackedAttentionInt8(OrtKernelInfo& info, const Size& size, Bytes& bytes) { attention(info, size, bytes); }

}  // namespace valid

struct Case {
  const char* name;
  void (*make)(OrtKernelInfo&, const Size&, Bytes&);
};

const Case kCases[] = {
#define OPERATOR(name, ...) {#name, valid::name},
#include "operators.def"
};

constexpr int kTypes[] = {kFloat, kUint8, kInt8, kUint16, kInt64, kBool, 16, 0};
constexpr int64_t kOdd[] = {0, 1, -1, 3, 4, 255, 256, 257, 65536, 1 << 20, (1 << 20) + 1, INT64_C(1) << 31,
                            INT64_C(1) << 32, INT64_C(1) << 62, INT64_MAX, INT64_MIN};

int64_t odd(Bytes& bytes) {
  const size_t choice = bytes.below(std::size(kOdd) + 2);
  if (choice < std::size(kOdd)) return kOdd[choice];
  return static_cast<int64_t>(choice == std::size(kOdd) ? bytes.number(1) : bytes.number(8));
}

// Gives the tensor another type and shape, and memory of exactly that size with as much of its data as fits. Shapes
// that no machine could hold stay as they are; an empty tensor may have any shape, as in onnxruntime.
void remake(Input& input, int type, const std::vector<int64_t>& shape, size_t offset = 0) {
  size_t elements = std::count(shape.begin(), shape.end(), 0) ? 0 : 1;
  for (int64_t d : shape) {
    if (d < 0 || (elements > 0 && d > 4096)) return;
    elements *= static_cast<size_t>(d);
    if (elements > 1 << 18) return;
  }
  const size_t before = size_of(input), after = elements * element_size(type);
  const OrtValue made = OrtValue::of(type, shape, after, 0, offset);
  if (before > 0 && after > 0) std::memcpy(made.data.get(), input.value.data.get(), std::min(before, after));
  input.value = made;
}

void edit(OrtKernelInfo& info, Bytes& bytes) {
  Input& input = info.inputs[bytes.below(info.inputs.size())];
  const size_t size = size_of(input);
  auto shape = input.value.shape;
  switch (bytes.below(10)) {
    case 0:
    case 1:
      if (size > 0) input.value.data.get()[bytes.number(2) % size] = static_cast<char>(bytes.number(1));
      break;
    case 2:  // a float among the special ones, or all bits of an int64
      if (size >= 8) {
        const uint64_t special[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x7f7fffff, 1, bytes.number(8)};
        std::memcpy(input.value.data.get() + bytes.number(2) % (size / 8) * 8, &special[bytes.below(6)], 8);
      }
      break;
    case 3:
      if (!info.integers.empty()) {
        const auto attribute = std::next(info.integers.begin(), bytes.below(info.integers.size()));
        if (bytes.below(8)) attribute->second = odd(bytes);
        else info.integers.erase(attribute);
      }
      break;
    case 4:
      if (shape.empty()) break;
      shape[bytes.below(shape.size())] = odd(bytes);
      remake(input, input.value.type, shape);
      break;
    case 5:
      remake(input, kTypes[bytes.below(std::size(kTypes))], shape);
      break;
    case 6:
      if (bytes.below(2)) input.constant = !input.constant;
      else input.given = !input.given;
      break;
    case 7:
      if (bytes.below(2) || info.inputs.size() < 2) info.inputs.push_back(info.inputs[bytes.below(info.inputs.size())]);
      else info.inputs.pop_back();
      break;
    case 8:  // another number of dimensions, or another alignment
      if (const size_t form = bytes.below(3); form == 0) shape = {static_cast<int64_t>(count(shape))};
      else if (form == 1) shape.insert(shape.begin(), 1);
      remake(input, input.value.type, shape, bytes.below(9));
      break;
    default:
      if (!info.texts.empty() && bytes.below(2)) info.texts.begin()->second.assign(bytes.below(80), 'x');
      else if (!info.reals.empty()) {
        const auto bits = static_cast<uint32_t>(bytes.number(4));
        std::memcpy(&info.reals.begin()->second, &bits, 4);
      }
  }
}

// Runs the kernel twice: it must not remember, and must write all of its output, over whatever was there.
void compute(const OrtCustomOp* op, void* kernel, const OrtKernelInfo& info) {
  OrtKernelContext first{&info, 0x5a, {}}, second{&info, 0xa5, {}};
  const std::unique_ptr<OrtStatus> one(op->KernelComputeV2(kernel, &first));
  const std::unique_ptr<OrtStatus> two(op->KernelComputeV2(kernel, &second));
  if (one && two) return;
  if (!one && !two && first.outputs.size() == 1 && second.outputs.size() == 1) {
    const OrtValue &a = *first.outputs[0], &b = *second.outputs[0];
    if (a.shape == b.shape && (!a.data || std::memcmp(a.data.get(), b.data.get(), count(a.shape) * 4) == 0)) return;
  }
  std::fprintf(stderr, "%s gave two results for the same inputs\n", op->GetName(op));
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  static const OrtApiBase base{[](uint32_t) { return &stand_in::table(); }, [] { return "1.17.0"; }};
  return RegisterCustomOps(nullptr, &base) == nullptr ? 0 : 1;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  Bytes bytes(input, size);
  const Case& chosen = kCases[bytes.below(std::size(kCases))];
  const size_t edits = bytes.below(5);
  const Size shape{1 + static_cast<int64_t>(bytes.below(2)), 1 + static_cast<int64_t>(bytes.below(6)),
                   4 * (1 + static_cast<int64_t>(bytes.below(16))), 4 * (1 + static_cast<int64_t>(bytes.below(12)))};
  OrtKernelInfo info;
  chosen.make(info, shape, bytes);
  for (size_t i = 0; i < edits; ++i) edit(info, bytes);

  const OrtCustomOp* op = stand_in::operators().at(chosen.name);
  void* kernel = nullptr;
  OrtStatus* status = op->CreateKernelV2(op, &stand_in::table(), &info, &kernel);
  if (status == nullptr) {
    compute(op, kernel, info);
    op->KernelDestroy(kernel);
  } else {
    // A kernel that was not edited is accepted; otherwise the fuzzer would test its own cases' refusal only.
    if (edits == 0) {
      std::fprintf(stderr, "%s refused a valid case: %s\n", chosen.name, status->message.c_str());
      std::abort();
    }
    delete status;
  }
  return 0;
}
