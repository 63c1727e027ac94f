// Converts weights that files keep as codes with a scale and an offset for each group of inputs: MLX's, AWQ's and
// GPTQ's. Done once per weight, when a model is opened.
//
//   MLX    codes [rows, columns] in `bits` each, low bits first          weight = code · scale + offset
//          scales, offsets [rows, groups]
//   AWQ    codes [columns, rows], eight in 32 bits, in an order of its own
//   GPTQ   codes [columns, rows]; 32 bits hold several columns' of one row
//          AWQ, GPTQ: scales [groups, rows], zeros [groups, rows] in 4 (or `bits`) each
//                                                                        weight = (code − zero) · scale
#include "kernels.h"
#include "simd.h"

static float number(const void *values, limn_type type, ptrdiff_t i) {
  if (type == LIMN_F32) return float_from_bits(load_u32((const char *)values + 4 * i));
  const uint16_t half = load_u16((const char *)values + 2 * i);
  return type == LIMN_F16 ? float_from_half(half) : float_from_bfloat(half);
}

static uint32_t word(const void *codes, ptrdiff_t i) { return load_u32((const char *)codes + 4 * i); }

/// The code of MLX's row at a column.
static int mlx_code(const uint8_t *row, ptrdiff_t column, int bits) {
  const ptrdiff_t bit = column * bits;
  const int shift = (int)(bit & 7);
  unsigned pair = row[bit >> 3];
  if (shift + bits > 8) pair |= (unsigned)row[(bit >> 3) + 1] << 8;
  return (int)(pair >> shift & ((1u << bits) - 1));
}

/// AWQ's code for a row among the eight in a word: the words hold rows 0, 2, 4, 6, 1, 3, 5, 7.
static int awq_code(uint32_t word, ptrdiff_t row) {
  static const int shifts[8] = {0, 16, 4, 20, 8, 24, 12, 28};
  return (int)(word >> shifts[row & 7] & 15);
}

static void store(const limn_grouped_job *j, ptrdiff_t i, float value) {
  if (j->type == LIMN_F16)
    ((uint16_t *)j->packed)[i] = half_from_float(value);
  else
    ((float *)j->packed)[i] = value;
}

static void expand_mlx(const limn_grouped_job *j, ptrdiff_t row) {
  const ptrdiff_t groups = j->columns / j->group_size;
  const uint8_t *codes = (const uint8_t *)j->codes + row * (j->columns * j->bits / 8);
  for (ptrdiff_t k = 0; k < j->columns; k++) {
    const ptrdiff_t group = row * groups + k / j->group_size;
    const float scale = number(j->scales, j->scale_type, group), offset = number(j->offsets, j->scale_type, group);
    store(j, row * j->columns + k, (float)mlx_code(codes, k, j->bits) * scale + offset);
  }
}

/// Blocks of Q4_1 or Q5_1, in which codes of up to 4 or 5 bits stay what they are.
static void pack_mlx(const limn_grouped_job *j, ptrdiff_t row) {
  const int head = j->type == LIMN_Q5_1 ? 8 : 4, size = head + 16;
  const ptrdiff_t groups = j->columns / j->group_size;
  const uint8_t *codes = (const uint8_t *)j->codes + row * (j->columns * j->bits / 8);
  uint8_t *block = (uint8_t *)j->packed + row * (j->columns / 32) * size;
  for (ptrdiff_t k = 0; k < j->columns; k += 32, block += size) {
    const ptrdiff_t group = row * groups + k / j->group_size;
    const uint16_t d = half_from_float(number(j->scales, j->scale_type, group));
    const uint16_t m = half_from_float(number(j->offsets, j->scale_type, group));
    memcpy(block, &d, 2);
    memcpy(block + 2, &m, 2);
    uint32_t fifth = 0;
    for (int i = 0; i < 16; i++) {
      const int low = mlx_code(codes, k + i, j->bits), high = mlx_code(codes, k + 16 + i, j->bits);
      block[head + i] = (uint8_t)((low & 15) | (high & 15) << 4);
      fifth |= (uint32_t)(low >> 4) << i | (uint32_t)(high >> 4) << (i + 16);
    }
    if (head > 4) memcpy(block + 4, &fifth, 4);
  }
}

/// Rows side by side, as they are in memory.
static void expand_transposed(const limn_grouped_job *j, ptrdiff_t begin, ptrdiff_t end) {
  const int in_word = 32 / j->bits, mask = (1 << j->bits) - 1;
  const ptrdiff_t words = j->rows / in_word;
  for (ptrdiff_t k = 0; k < j->columns; k++) {
    const ptrdiff_t group = j->groups ? (ptrdiff_t)word(j->groups, k) : k / j->group_size;
    for (ptrdiff_t r = begin; r < end; r++) {
      int code, zero;
      if (j->layout == LIMN_AWQ) {
        code = awq_code(word(j->codes, k * words + r / 8), r);
        zero = awq_code(word(j->offsets, group * words + r / 8), r);
      } else {
        code = (int)(word(j->codes, k / in_word * j->rows + r) >> k % in_word * j->bits) & mask;
        zero = ((int)(word(j->offsets, group * words + r / in_word) >> r % in_word * j->bits) & mask) + j->zero_shift;
      }
      const float scale = number(j->scales, j->scale_type, group * j->rows + r);
      store(j, r * j->columns + k, (float)(code - zero) * scale);
    }
  }
}

static void expand_grouped(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_grouped_job *j = job;
  const ptrdiff_t last = end * LIMN_GROUPED_ROWS < j->rows ? end * LIMN_GROUPED_ROWS : j->rows;
  if (j->layout != LIMN_MLX) {
    for (ptrdiff_t r = begin * LIMN_GROUPED_ROWS; r < last; r += LIMN_GROUPED_ROWS)
      expand_transposed(j, r, r + LIMN_GROUPED_ROWS < last ? r + LIMN_GROUPED_ROWS : last);
    return;
  }
  for (ptrdiff_t r = begin * LIMN_GROUPED_ROWS; r < last; r++)
    if (j->type == LIMN_Q4_1 || j->type == LIMN_Q5_1)
      pack_mlx(j, r);
    else
      expand_mlx(j, r);
}

void limn_install_grouped(limn_kernels *kernels) { kernels->expand_grouped = expand_grouped; }
