/* The tag bytes of the stanza codec, for its reader and its writer. 1..235 are tokens. */
#pragma once
#include "proto/wire/node.h"

enum wa_tag {
    WA_TAG_LIST_EMPTY = 0,
    WA_TAG_DICTIONARY_0 = 236, /* .. 239: the next byte is an index */
    WA_TAG_DICTIONARY_1 = 237,
    WA_TAG_DICTIONARY_2 = 238,
    WA_TAG_DICTIONARY_3 = 239,
    WA_TAG_INTEROP_JID = 245,
    WA_TAG_FB_JID = 246,
    WA_TAG_AD_JID = 247,
    WA_TAG_LIST_8 = 248,
    WA_TAG_LIST_16 = 249,
    WA_TAG_JID_PAIR = 250,
    WA_TAG_HEX_8 = 251,
    WA_TAG_BINARY_8 = 252,
    WA_TAG_BINARY_20 = 253,
    WA_TAG_BINARY_32 = 254,
    WA_TAG_NIBBLE_8 = 255,
};

/* First byte of an AD_JID. */
enum wa_domain {
    WA_DOMAIN_USER = 0,
    WA_DOMAIN_LID = 1,
    WA_DOMAIN_HOSTED = 128,
    WA_DOMAIN_HOSTED_LID = 129,
};

enum { WA_PACKED_MAX = 127 }; /* characters of a packed text */
