// Writes weights in another type: a row is dequantised to float32, checked, and encoded. The encoders of F32, F16 and
// BF16 are here, those of blocks in the other files.
#include "encode.h"

// MARK: F32, F16, BF16

typedef int16_t v16s_unaligned __attribute__((vector_size(32), aligned(1)));

static double f32(const float *values, ptrdiff_t columns, void *row) {
  memcpy(row, values, (size_t)columns * sizeof(float));
  return 0;
}

LIMN_INLINE double f16_one(const float *values, ptrdiff_t begin, ptrdiff_t end, void *row) {
  double error = 0;
  for (ptrdiff_t k = begin; k < end; k++) {
    const uint16_t half = half_from_float(values[k]);
    const float miss = values[k] - float_from_half(half);
    error += (double)miss * (double)miss;
    memcpy((char *)row + 2 * k, &half, 2);
  }
  return error;
}
static double f16_scalar(const float *values, ptrdiff_t columns, void *row) { return f16_one(values, 0, columns, row); }
LIMN_INLINE double f16_body(const float *values, ptrdiff_t columns, void *row) {
  v16f error = {};
  ptrdiff_t k = 0;
  for (; k + 16 <= columns; k += 16) {
    const v16f x = v_load(values + k);
    char *to = (char *)row + 2 * k;
    v_store_half(to, x);
    const v16f miss = x - v_load_half(to);
    error = v_fma(miss, miss, error);
  }
  return (double)v_sum(error) + f16_one(values, k, columns, row);
}
LIMN_VALUE_INSTANCES(double, f16, (const float *values, ptrdiff_t columns, void *row), (values, columns, row))

LIMN_INLINE double bf16_one(const float *values, ptrdiff_t begin, ptrdiff_t end, void *row) {
  double error = 0;
  for (ptrdiff_t k = begin; k < end; k++) {
    const uint16_t upper = bfloat_from_float(values[k]);
    const float miss = values[k] - float_from_bfloat(upper);
    error += (double)miss * (double)miss;
    memcpy((char *)row + 2 * k, &upper, 2);
  }
  return error;
}
static double bf16_scalar(const float *values, ptrdiff_t columns, void *row) {
  return bf16_one(values, 0, columns, row);
}
LIMN_INLINE double bf16_body(const float *values, ptrdiff_t columns, void *row) {
  v16f error = {};
  ptrdiff_t k = 0;
  for (; k + 16 <= columns; k += 16) {
    const v16f x = v_load(values + k);
    const v16i bits = (v16i)x, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    *(v16s_unaligned *)((char *)row + 2 * k) = __builtin_convertvector(rounded, v16s);
    const v16f miss = x - (v16f)(rounded << 16);
    error = v_fma(miss, miss, error);
  }
  return (double)v_sum(error) + bf16_one(values, k, columns, row);
}
LIMN_VALUE_INSTANCES(double, bf16, (const float *values, ptrdiff_t columns, void *row), (values, columns, row))

static limn_encode *limn_encoder_plain(limn_isa isa, limn_type type) {
  switch (type) {
    case LIMN_F32: return f32;
    case LIMN_F16: return LIMN_PICK(isa, f16);
    case LIMN_BF16: return LIMN_PICK(isa, bf16);
    default: return NULL;
  }
}

static limn_encode *limn_encoder_none(limn_isa isa, limn_type type) {
  (void)isa, (void)type;
  return NULL;
}

limn_encode *limn_encoder(limn_isa isa, limn_type type) {
  if (!limn_isa_supported(isa)) return NULL;
  static limn_encode *(*const choose[LIMN_TYPES])(limn_isa, limn_type) = {
#define LIMN_FORMAT(name, function, spelling, ggml, elements, bytes, encoder) [LIMN_##name] = limn_encoder_##encoder,
#include "formats.def"
  };
  return choose[type](isa, type);
}

// MARK: Rows of a job

/// The columns of a row, rounded up to whole batches.
static ptrdiff_t padded(ptrdiff_t columns) {
  return (columns + LIMN_ENCODE_BATCH - 1) / LIMN_ENCODE_BATCH * LIMN_ENCODE_BATCH;
}

size_t limn_encode_scratch(const limn_encode_job *job) { return (size_t)padded(job->columns) * sizeof(float); }

/// Σ x²; NaN if an x is NaN or infinite.
LIMN_INLINE double squares(const float *values, ptrdiff_t columns) {
  v16f sum = {};
  v16i special = {};
  for (ptrdiff_t k = 0; k < columns; k += 16) {
    const v16f x = v_load(values + k);
    special |= ((v16i)x & 0x7f800000) == 0x7f800000;
    sum = v_fma(x, x, sum);
  }
  return v_sum_int(special) ? NAN : v_sum(sum);
}

LIMN_INLINE void encode_body(const void *opaque, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const limn_encode_job *job = opaque;
  float *values = scratch;
  const ptrdiff_t all = padded(job->columns);
  memset(values + job->columns, 0, (size_t)(all - job->columns) * sizeof(float));
  for (ptrdiff_t r = begin; r < end; r++) {
    const size_t from = job->order ? (size_t)job->order[r] : (size_t)r;
    const char *row = (const char *)job->weight + from * job->row_bytes;
    job->source->dequantize(row, values, (int)job->columns);
    job->losses[r].norm = squares(values, all);
    job->losses[r].error = job->encode(values, job->columns, (char *)job->result + (size_t)r * job->result_row_bytes);
  }
}
static void encode_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  encode_body(job, begin, end, scratch);
}
LIMN_KERNEL_INSTANCES(encode)

limn_kernel *limn_encode_rows(limn_isa isa) { return LIMN_PICK(isa, encode); }
