// The time of the library's products alone, on one thread: see products.py.
//
// Arguments: int8 or fp32, out_features, in_features, groups of 16 tokens, and the share of elements that are kept; 1 means
// the dense product, and a share above 1 the sparse product of a full matrix. Prints the seconds of the fastest of
// several runs over `kLayers` matrices, and the operations in them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "cpu.h"

using namespace sdp;

namespace {

// As many as an encoder has: their weights do not stay in the first- and second-level caches.
constexpr int kLayers = 12;
constexpr int kRepetitions = 15;
// As sdp_onnx/operators/sparse_format.py cuts matrices, and operators/dense_linear.cpp.
constexpr int kSlice = 192, kInt8Slice = 128, kInt8Whole = 192, kBlock = 192, kGroupsAtOnce = 4;

struct Matrix {
  SparseMatrix view;
  std::vector<uint32_t> values;
  std::vector<uint8_t> column, row;
  std::vector<uint16_t> width;
  size_t kept = 0;
};

// A random matrix in the format of SparseMatrix: see kernels.h.
Matrix make(int rows, int columns, int slice, double share, bool int8, std::mt19937& random) {
  Matrix made;
  SparseMatrix& view = made.view;
  view.rows = rows, view.columns = columns, view.slice = std::min(slice, columns), view.block = kBlock;
  std::uniform_real_distribution<double> uniform;
  for (int first = 0; first < rows; first += kBlock)
    for (int left = 0; left < columns; left += view.slice) {
      const int here = std::min(kBlock, rows - first), wide = std::min(view.slice, columns - left);
      std::vector<std::vector<uint8_t>> elements(static_cast<size_t>(here));
      for (auto& own : elements)
        for (int k = 0; k < wide; ++k)
          if (uniform(random) < share) own.push_back(static_cast<uint8_t>(k));
      std::vector<int> order(elements.size());
      for (int r = 0; r < here; ++r) order[static_cast<size_t>(r)] = r;
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return elements[a].size() > elements[b].size(); });
      view.first_element.push_back(made.column.size());
      for (int quad = 0; quad < here; quad += 4) {
        const size_t width = elements[order[quad]].size();
        made.width.push_back(static_cast<uint16_t>(width));
        for (int r = 0; r < 4; ++r) made.row.push_back(static_cast<uint8_t>(order[quad + r]));
        for (size_t j = 0; j < width; ++j)
          for (int r = 0; r < 4; ++r) {
            const auto& own = elements[order[quad + r]];
            const bool present = j < own.size();
            const float small = 0.01f;
            uint32_t value = 0x01fe0302;
            if (!int8) std::memcpy(&value, &small, 4);
            made.values.push_back(present ? value : 0);
            made.column.push_back(present ? own[j] : 0);
            made.kept += present;
          }
      }
    }
  view.values = made.values.data(), view.column = made.column.data();
  view.row = made.row.data(), view.width = made.width.data();
  return made;
}

template <class T>
T* aligned(size_t count, T value) {
  T* memory = static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64}));
  std::fill_n(memory, count, value);
  return memory;
}

}  // namespace

int main(int, char** arguments) {
  const bool int8 = std::strcmp(arguments[1], "int8") == 0;
  const int rows = std::atoi(arguments[2]), features = std::atoi(arguments[3]), groups = std::atoi(arguments[4]);
  const double share = std::atof(arguments[5]);
  const bool dense = share == 1;
  const int columns = int8 ? features / 4 : features;
  const size_t in_stride = static_cast<size_t>(features) * 16, out_stride = static_cast<size_t>(rows) * 16;
  std::mt19937 random(1);
  const int slice = !int8 ? kSlice : columns <= kInt8Whole ? kInt8Whole : kInt8Slice;
  std::vector<Matrix> sparse;
  std::vector<void*> full;
  for (int layer = 0; layer < kLayers; ++layer) {
    if (!dense) sparse.push_back(make(rows, columns, slice, share, int8, random));
    if (dense && int8) full.push_back(aligned<int8_t>(static_cast<size_t>(rows) * features, 1));
    if (dense && !int8) full.push_back(aligned<float>(static_cast<size_t>(rows) * features, 0.01f));
  }
  const float* bias = aligned<float>(rows, 0.0f);
  const float* row_scale = aligned<float>(rows, 0.001f);
  const int32_t* row_sum = aligned<int32_t>(rows, 0);
  const float* x = aligned<float>(groups * in_stride, 0.5f);
  const uint8_t* bytes = aligned<uint8_t>(groups * in_stride, 3);
  const float* scale = aligned<float>(static_cast<size_t>(groups) * 16, 0.01f);
  float* y = aligned<float>(groups * out_stride, 0.0f);

  const Kernels& kernel = kernels();
  const auto multiply = [&](int layer, int first, int count, int block) {
    const SparseMatrix* matrix = dense ? nullptr : &sparse[layer].view;
    const ProductF32 f32{matrix, bias, Activation::none};
    const ProductI8 i8{matrix, bias, row_scale, row_sum, Activation::none};
    const int top = block * kBlock, end = std::min(top + kBlock, rows);
    const float* from = x + first * in_stride;
    const uint8_t* from_bytes = bytes + first * in_stride;
    float* to = y + first * out_stride;
    if (dense && int8)
      kernel.dense_i8(i8, static_cast<const int8_t*>(full[layer]), top, end, features, from_bytes, in_stride,
                      scale + first * 16, count, to, out_stride);
    else if (dense)
      kernel.dense_f32(f32, static_cast<const float*>(full[layer]), top, end, features, from, in_stride, count, to,
                       out_stride);
    else if (int8)
      kernel.sparse_i8(i8, block, from_bytes, in_stride, scale + first * 16, count, to, out_stride);
    else
      kernel.sparse_f32(f32, block, from, in_stride, count, to, out_stride);
  };
  double fastest = 1e9;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    const auto started = std::chrono::steady_clock::now();
    for (int layer = 0; layer < kLayers; ++layer)
      for (int first = 0; first < groups; first += kGroupsAtOnce)
        for (int block = 0; block * kBlock < rows; ++block)
          multiply(layer, first, std::min(kGroupsAtOnce, groups - first), block);
    fastest = std::min(fastest, std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  }
  double kept = dense ? static_cast<double>(kLayers) * rows * columns : 0;
  for (const Matrix& matrix : sparse) kept += static_cast<double>(matrix.kept);
  std::printf("%.9f %.0f\n", fastest, 2 * kept * (int8 ? 4 : 1) * groups * 16);
}
