// Converts weights to the blocks of bitsandbytes.c: from codes and scales as files keep them, or from a checkpoint's
// floats by the library's own quantisation. Done once per weight, when a model is opened.
#include "bitsandbytes.h"
#include "kernels.h"

// MARK: From files

static uint8_t nibble(const uint8_t *codes, ptrdiff_t i) { return i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15; }

static void pack_4bit(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_4bit_job *j = job;
  limn_block_4bit *blocks = j->packed;
  for (ptrdiff_t b = begin; b < end; b++) {
    const uint8_t *low = j->codes + b * 32, *high = low + 16;
    blocks[b].d = j->absmax[b * 64 / j->block_size];
    for (int i = 0; i < 16; i++) {
      blocks[b].q[2 * i] = (uint8_t)(low[i] >> 4 | (high[i] & 0xf0));
      blocks[b].q[2 * i + 1] = (uint8_t)((low[i] & 15) | high[i] << 4);
    }
  }
}

static void store(void *out, limn_type type, ptrdiff_t i, float value) {
  if (type == LIMN_F16)
    ((uint16_t *)out)[i] = half_from_float(value);
  else if (type == LIMN_BF16)
    ((uint16_t *)out)[i] = bfloat_from_float(value);
  else
    ((float *)out)[i] = value;
}

static void expand_4bit(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_4bit_job *j = job;
  for (ptrdiff_t b = begin; b < end; b++)
    for (ptrdiff_t i = b * 64; i < b * 64 + 64 && i < j->count; i++)
      store(j->packed, j->type, i, j->map[nibble(j->codes, i)] * j->absmax[i / j->block_size]);
}

static void pack_int8(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_llm_int8_job *j = job;
  for (ptrdiff_t r = begin; r < end; r++) {
    limn_block_int8 *row = (limn_block_int8 *)j->packed + r * (j->columns / 64);
    for (ptrdiff_t b = 0; b < j->columns / 64; b++) {
      row[b].d = j->absmax[r];
      memcpy(row[b].q, j->codes + r * j->columns + b * 64, 64);
    }
  }
}

static void expand_int8(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_llm_int8_job *j = job;
  for (ptrdiff_t r = begin; r < end; r++)
    for (ptrdiff_t k = 0; k < j->columns; k++)
      ((float *)j->packed)[r * j->columns + k] = limn_int8_value(j->codes[r * j->columns + k], j->absmax[r]);
}

// MARK: 4 bits from floats

// The values of a code lie between two of these midpoints, in ascending order; `order` says which code that is.
static const float midpoints[2][15] = {
  {-0x1.b239bp-1f, -0x1.38a4ep-1f, -0x1.d709p-2f, -0x1.5bd4ecp-2f, -0x1.e079d8p-3f, -0x1.1a7178p-3f, -0x1.74f0e2p-5f,
   0x1.45f5fep-5f, 0x1.ec90c4p-4f, 0x1.a0cfcp-3f, 0x1.2b05a8p-2f, 0x1.8ea7f2p-2f, 0x1.00da08p-1f, 0x1.491b5ep-1f,
   0x1.b913b4p-1f},
  {-0x1.aaaaacp-1f, -0x1.2aaaacp-1f, -0x1.aaaaacp-2f, -0x1.2aaaacp-2f, -0x1.aaaaacp-3f, -0x1.6p-4f, -0x1.555556p-9f, 0,
   0x1.555556p-9f, 0x1.6p-4f, 0x1.aaaaacp-3f, 0x1.2aaaacp-2f, 0x1.aaaaacp-2f, 0x1.2aaaacp-1f, 0x1.aaaaacp-1f},
};
static const uint8_t order[2][16] = {
  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
  {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3},
};

static float load(const void *values, limn_type type, ptrdiff_t i) {
  if (type == LIMN_F16) return float_from_half(load_u16((const char *)values + 2 * i));
  if (type == LIMN_BF16) return float_from_bfloat(load_u16((const char *)values + 2 * i));
  float value;
  memcpy(&value, (const char *)values + 4 * i, 4);
  return value;
}

/// As the library does it: whole blocks are multiplied by the rounded reciprocal, an incomplete last block is divided.
LIMN_INLINE void quantize_4bit_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_quantize_job *j = job;
  for (ptrdiff_t b = begin; b < end; b++) {
    const ptrdiff_t first = b * 64, count = j->count - first < 64 ? j->count - first : 64;
    float x[64] = {0}, largest = 0;
    for (int i = 0; i < count; i++) {
      x[i] = load(j->values, j->type, first + i);
      largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    const float divisor = largest < 1e-38f ? 1e-38f : largest;
    j->absmax[b] = count < 64 ? divisor : largest;
    const float inverse = 1 / divisor;
    uint8_t codes[64];
    LIMN_UNROLL (int v = 0; v < 4; v++) {
      const v16f part = v_load(x + v * 16), scaled = count < 64 ? part / divisor : part * inverse;
      v16i above = {0};
      for (int i = 0; i < 15; i++) above -= v_splat(midpoints[j->code][i]) < scaled;
      for (int i = 0; i < 16; i++) codes[v * 16 + i] = order[j->code][above[i]];
    }
    for (int i = 0; i < (count + 1) / 2; i++)
      ((uint8_t *)j->codes)[first / 2 + i] = (uint8_t)(codes[2 * i] << 4 | codes[2 * i + 1]);
  }
}

static void quantize_4bit_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  quantize_4bit_body(job, begin, end, scratch);
}
LIMN_KERNEL_INSTANCES(quantize_4bit)

// MARK: Double quantisation

// The positive values of the 8-bit dynamic map, except the last one, 1. The map also has their negatives, and 0.
static const float positive[127] = {
  0x1.27476ep-21f, 0x1.b43528p-19f, 0x1.040bfep-17f, 0x1.64840cp-16f, 0x1.6f0068p-15f, 0x1.15df66p-14f, 0x1.743e96p-14f,
  0x1.47ae16p-13f, 0x1.19ce0ap-12f, 0x1.8fc506p-12f, 0x1.02de02p-11f, 0x1.3dd982p-11f, 0x1.78d5p-11f,   0x1.b3d07cp-11f,
  0x1.eecbfep-11f, 0x1.4fdf3ap-10f, 0x1.e353f8p-10f, 0x1.3b645ap-9f,  0x1.851eb8p-9f,  0x1.ced914p-9f,  0x1.0c49bap-8f,
  0x1.3126e8p-8f,  0x1.56041ap-8f,  0x1.7ae148p-8f,  0x1.9fbe76p-8f,  0x1.c49ba6p-8f,  0x1.e978d4p-8f,  0x1.072b02p-7f,
  0x1.19999ap-7f,  0x1.2c083p-7f,   0x1.3e76c8p-7f,  0x1.75c29p-7f,   0x1.d1eb86p-7f,  0x1.170a3ep-6f,  0x1.451ebap-6f,
  0x1.733334p-6f,  0x1.a147aep-6f,  0x1.cf5c2ap-6f,  0x1.fd70a4p-6f,  0x1.15c29p-5f,   0x1.2ccccep-5f,  0x1.43d70ap-5f,
  0x1.5ae146p-5f,  0x1.71eb86p-5f,  0x1.88f5c2p-5f,  0x1.ap-5f,       0x1.b70a3ep-5f,  0x1.ce147ap-5f,  0x1.e51ebap-5f,
  0x1.fc28f6p-5f,  0x1.09999ap-4f,  0x1.151ebap-4f,  0x1.20a3d6p-4f,  0x1.2c28f6p-4f,  0x1.37ae14p-4f,  0x1.433334p-4f,
  0x1.4eb854p-4f,  0x1.5a3d7p-4f,   0x1.65c29p-4f,   0x1.7147aep-4f,  0x1.7ccccep-4f,  0x1.8851eep-4f,  0x1.93d70ap-4f,
  0x1.b66668p-4f,  0x1.fp-4f,       0x1.14ccccp-3f,  0x1.31999ap-3f,  0x1.4e6666p-3f,  0x1.6b3334p-3f,  0x1.88p-3f,
  0x1.a4ccccp-3f,  0x1.c1999ap-3f,  0x1.de6666p-3f,  0x1.fb3332p-3f,  0x1.0cp-2f,      0x1.1a6668p-2f,  0x1.28ccccp-2f,
  0x1.373334p-2f,  0x1.459998p-2f,  0x1.54p-2f,      0x1.626666p-2f,  0x1.70ccccp-2f,  0x1.7f3334p-2f,  0x1.8d9998p-2f,
  0x1.9cp-2f,      0x1.aa6666p-2f,  0x1.b8ccccp-2f,  0x1.c73334p-2f,  0x1.d59998p-2f,  0x1.e4p-2f,      0x1.f26664p-2f,
  0x1.006666p-1f,  0x1.079998p-1f,  0x1.0eccccp-1f,  0x1.16p-1f,      0x1.1d3334p-1f,  0x1.246668p-1f,  0x1.2b999ap-1f,
  0x1.32ccccp-1f,  0x1.3ap-1f,      0x1.413334p-1f,  0x1.486668p-1f,  0x1.4f999ap-1f,  0x1.56ccccp-1f,  0x1.5ep-1f,
  0x1.653334p-1f,  0x1.6c6668p-1f,  0x1.73999ap-1f,  0x1.7accccp-1f,  0x1.82p-1f,      0x1.893334p-1f,  0x1.906666p-1f,
  0x1.97999ap-1f,  0x1.9eccccp-1f,  0x1.a6p-1f,      0x1.ad3334p-1f,  0x1.b46666p-1f,  0x1.bb999ap-1f,  0x1.c2ccccp-1f,
  0x1.cap-1f,      0x1.d13334p-1f,  0x1.d86666p-1f,  0x1.df999ap-1f,  0x1.e6ccccp-1f,  0x1.eep-1f,      0x1.f53334p-1f,
  0x1.fc6666p-1f};

static void dynamic_map(float map[256]) {
  for (int i = 0; i < 127; i++) {
    map[i] = -positive[126 - i];
    map[128 + i] = positive[i];
  }
  map[127] = 0;
  map[255] = 1;
}

/// The nearest code, by the midpoints between neighbouring values.
static uint8_t nearest(const float map[256], float x) {
  int low = 0, high = 255;
  while (low < high) {
    const int middle = (low + high) / 2;
    if ((map[middle] + map[middle + 1]) / 2 < x)
      low = middle + 1;
    else
      high = middle;
  }
  return (uint8_t)low;
}

float limn_nest_absmax(const float *absmax, ptrdiff_t count, uint8_t *codes, float *nested, float map[256]) {
  dynamic_map(map);
  double sum = 0;
  for (ptrdiff_t i = 0; i < count; i++) sum += absmax[i];
  const float mean = (float)(sum / (double)count);
  for (ptrdiff_t first = 0; first < count; first += 256) {
    const ptrdiff_t last = count - first < 256 ? count : first + 256;
    float largest = 0;
    for (ptrdiff_t i = first; i < last; i++) {
      const float size = fabsf(absmax[i] - mean);
      largest = size > largest ? size : largest;
    }
    const float divisor = largest < 1e-38f ? 1e-38f : largest, inverse = 1 / divisor;
    const int whole = last - first == 256;
    nested[first / 256] = whole ? largest : divisor;
    for (ptrdiff_t i = first; i < last; i++)
      codes[i] = nearest(map, whole ? (absmax[i] - mean) * inverse : (absmax[i] - mean) / divisor);
  }
  return mean;
}

void limn_unnest_absmax(
  const uint8_t *codes, ptrdiff_t count, const float map[256], const float *nested, ptrdiff_t block_size, float offset,
  float *absmax) {
  for (ptrdiff_t i = 0; i < count; i++) absmax[i] = map[codes[i]] * nested[i / block_size] + offset;
}

// MARK: LLM.int8 from floats

/// The library quantises float16, so values are rounded to it first. A row of zeros keeps a scale of zero.
static void quantize_int8(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_quantize_job *j = job;
  for (ptrdiff_t r = begin; r < end; r++) {
    const ptrdiff_t first = r * j->count;
    float largest = 0;
    for (ptrdiff_t k = 0; k < j->count; k++) {
      const float size = fabsf(limn_rounded(load(j->values, j->type, first + k), LIMN_F16));
      largest = size > largest ? size : largest;
    }
    j->absmax[r] = largest;
    const float inverse = largest > 0 ? 127 * (1 / largest) : 0;  // in the library's order
    for (ptrdiff_t k = 0; k < j->count; k++) {
      const float value = limn_rounded(load(j->values, j->type, first + k), LIMN_F16);
      ((int8_t *)j->codes)[first + k] = (int8_t)(int32_t)rintf(value * inverse);
    }
  }
}

void limn_install_bitsandbytes(limn_kernels *kernels) {
  kernels->pack_4bit = pack_4bit;
  kernels->expand_4bit = expand_4bit;
  kernels->pack_int8 = pack_int8;
  kernels->expand_int8 = expand_int8;
  kernels->quantize_4bit = LIMN_PICK(kernels->isa, quantize_4bit);
  kernels->quantize_int8 = quantize_int8;
}
