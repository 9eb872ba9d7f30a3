#include "sparse_matrix.h"

#include <algorithm>

namespace sdp {

namespace {

// Fills first_element and checks all indices against the matrix.
void check_indices(SparseMatrix& m, size_t elements) {
  size_t element = 0;
  const uint8_t* row = m.row;
  const uint16_t* width = m.width;
  for (int block = 0; block < m.blocks(); ++block) {
    const int rows = std::min(m.block, m.rows - block * m.block);
    for (int slice = 0; slice < m.slices(); ++slice) {
      const int columns = std::min(m.slice, m.columns - slice * m.slice);
      m.first_element.push_back(element);
      bool seen[256] = {};
      for (int i = 0; i < rows; ++i, ++row) {
        require(*row < rows && !seen[*row], "rows: a block does not list each of its rows once");
        seen[*row] = true;
      }
      size_t here = 0;
      for (int quad = 0; quad < rows; quad += 4, ++width) here += 4 * static_cast<size_t>(*width);
      require(here <= elements - element, "widths: more elements than values");
      for (size_t i = 0; i < here; ++i)
        require(m.column[element + i] < columns, "columns: a column beyond its slice");
      element += here;
    }
  }
  require(element == elements, "widths: fewer elements than values");
}

}  // namespace

template <class Value>
SparseMatrix read_sparse_matrix(const OrtKernelInfo* info, const SparseInputs& inputs, int64_t rows, int64_t columns) {
  require(rows % 4 == 0, "out_features is not a multiple of 4");
  SparseMatrix m;
  m.rows = static_cast<int>(rows);
  m.columns = static_cast<int>(columns);
  m.slice = static_cast<int>(integer(info, "slice", 1, 256));
  m.block = static_cast<int>(integer(info, "block", 4, 256));
  require(m.block % 4 == 0, "block is not a multiple of 4");

  const Tensor<Value> values = constant<Value>(info, inputs.values);
  const Tensor<uint8_t> column = constant<uint8_t>(info, inputs.columns);
  const Tensor<uint8_t> row = constant<uint8_t>(info, inputs.rows);
  const Tensor<uint16_t> width = constant<uint16_t>(info, inputs.widths);
  constexpr size_t kValuesPerElement = 4 / sizeof(Value);
  const size_t elements = column.size();
  require(column.shape.size() == 1 && row.shape.size() == 1 && width.shape.size() == 1, "indices are not vectors");
  require(values.size() % kValuesPerElement == 0 && values.size() / kValuesPerElement == elements,
          "values and columns differ in length");
  const size_t ordered = static_cast<size_t>(m.rows) * m.slices();
  require(row.size() == ordered, "rows: the length is not out_features times the number of slices");
  require(width.size() == ordered / 4, "widths: the length is not a quarter of the length of rows");
  m.values = values.data;
  m.column = column.data;
  m.row = row.data;
  m.width = width.data;
  check_indices(m, elements);
  return m;
}

template SparseMatrix read_sparse_matrix<float>(const OrtKernelInfo*, const SparseInputs&, int64_t, int64_t);
template SparseMatrix read_sparse_matrix<int8_t>(const OrtKernelInfo*, const SparseInputs&, int64_t, int64_t);

}  // namespace sdp
