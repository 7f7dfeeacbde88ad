/* hash: digests, and base64 both ways. */
#include <mbedtls/md.h>
#include <zlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"

static const char name[] = "hash";

/* Bytes between two looks at the stop flag: half a millisecond of the slowest. */
#define BLOCK_BYTES (128u << 10)

#define DIGEST_BYTES_MOST MBEDTLS_MD_MAX_SIZE

enum algorithm { A_SHA256, A_SHA512, A_SHA384, A_SHA224, A_SHA1, A_MD5, A_CRC32, A_XXH64, A_XXH3 };
static const char *const algorithms[] = {"sha256", "sha512", "sha384", "sha224", "sha1",
                                         "md5",    "crc32",  "xxh64",  "xxh3",   NULL};

static size_t put_big_endian(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
    return bytes;
}

struct digest {
    enum algorithm algorithm;
    uint32_t crc;
    mbedtls_md_context_t md;
    XXH64_state_t xxh64;
    XXH3_state_t xxh3;
};

static bool digest_start(struct digest *digest)
{
    static const mbedtls_md_type_t types[] = {
        [A_SHA256] = MBEDTLS_MD_SHA256, [A_SHA512] = MBEDTLS_MD_SHA512, [A_SHA384] = MBEDTLS_MD_SHA384,
        [A_SHA224] = MBEDTLS_MD_SHA224, [A_SHA1] = MBEDTLS_MD_SHA1,     [A_MD5] = MBEDTLS_MD_MD5,
    };
    mbedtls_md_init(&digest->md);
    if (digest->algorithm == A_CRC32)
        digest->crc = (uint32_t)crc32(0, NULL, 0);
    else if (digest->algorithm == A_XXH64)
        XXH64_reset(&digest->xxh64, 0);
    else if (digest->algorithm == A_XXH3)
        XXH3_64bits_reset(&digest->xxh3);
    else
        return mbedtls_md_setup(&digest->md, mbedtls_md_info_from_type(types[digest->algorithm]), 0) == 0 &&
               mbedtls_md_starts(&digest->md) == 0;
    return true;
}

static void digest_update(struct digest *digest, struct slice part)
{
    if (digest->algorithm == A_CRC32)
        digest->crc = (uint32_t)crc32(digest->crc, (const unsigned char *)part.data, (unsigned)part.length);
    else if (digest->algorithm == A_XXH64)
        XXH64_update(&digest->xxh64, part.data, part.length);
    else if (digest->algorithm == A_XXH3)
        XXH3_64bits_update(&digest->xxh3, part.data, part.length);
    else
        mbedtls_md_update(&digest->md, (const unsigned char *)part.data, part.length);
}

static size_t digest_finish(struct digest *digest, unsigned char out[DIGEST_BYTES_MOST])
{
    if (digest->algorithm == A_CRC32)
        return put_big_endian(out, digest->crc, 4);
    if (digest->algorithm == A_XXH64)
        return put_big_endian(out, XXH64_digest(&digest->xxh64), 8);
    if (digest->algorithm == A_XXH3)
        return put_big_endian(out, XXH3_64bits_digest(&digest->xxh3), 8);
    mbedtls_md_finish(&digest->md, out);
    return mbedtls_md_get_size(digest->md.md_info);
}

static enum operation_status run_digest(struct operation_call *call, struct slice text)
{
    unsigned algorithm = A_SHA256, encoding = ENCODING_HEX;
    if (!input_optional_choice(call, name, "algorithm", algorithms, &algorithm) ||
        !input_optional_choice(call, name, "encoding", encoding_names, &encoding))
        return OPERATION_FAILED;
    struct digest digest = {.algorithm = algorithm};
    unsigned char out[DIGEST_BYTES_MOST];
    if (!digest_start(&digest)) {
        mbedtls_md_free(&digest.md);
        return inputs_refuse(call, "%s: out of memory", name);
    }
    for (size_t at = 0; at < text.length; at += BLOCK_BYTES) {
        size_t count = text.length - at < BLOCK_BYTES ? text.length - at : BLOCK_BYTES;
        digest_update(&digest, slice_from(text.data + at, count));
        if (operation_stopped(call)) {
            mbedtls_md_free(&digest.md);
            return OPERATION_STOPPED;
        }
    }
    size_t length = digest_finish(&digest, out);
    mbedtls_md_free(&digest.md);
    return encoding_write(call, slice_from((const char *)out, length), encoding);
}

enum operation_status operation_hash(struct operation_call *call)
{
    static const char *const choices[] = {"digest", "base64Encode", "base64Decode", NULL};
    unsigned choice = 0;
    struct slice text;
    if (!input_is_object(call, name) || !input_optional_choice(call, name, "op", choices, &choice) ||
        !input_text(call, name, "text", &text))
        return OPERATION_FAILED;
    enum operation_status status;
    if (choice == 0) {
        status = run_digest(call, text);
    } else if (choice == 1) {
        if (text.length > OPERATION_RESULT_MAXIMUM / 4 * 3)
            return inputs_refuse(call, "%s: data.text: the result would have more than 256 MiB", name);
        status = encoding_write(call, text, ENCODING_BASE64);
    } else {
        size_t wrong;
        status = base64_decode(call, text, call->result, &wrong);
        if (status == OPERATION_FAILED)
            return inputs_refuse(call, "%s: data.text: not base64 at byte %zu", name, wrong);
    }
    return status == OPERATION_DONE ? inputs_finish(call, name) : status;
}
