/* Messages that only our phone can still give us (protocol.md 6.5, 7.4): those that cannot be read
 * here while their sender does not repeat them, and those that came as <unavailable>.
 *
 * Asked for once a link, WA_ASK_AFTER_MS after the first failure, when no retry has brought them;
 * at most WA_ASKS_HOUR in an hour, so that a peer who sends rubbish does not make us flood the
 * phone. The stanza is acknowledged and will not come again, so the question is a row until it has
 * brought the message, or was asked in vain over WA_ASK_TRIES links, each of which lived for
 * WA_ASK_ANSWER_MS more: a link that ends before says nothing about the phone. What is due on this
 * link is in memory. */
#pragma once
#include "proto/client/message_info.h"

enum {
    WA_ASK_AFTER_MS = 5 * 1000,
    WA_ASK_AGE_S = 14 * 24 * 3600, /* the phone has no older ones */
    WA_ASKS_WAITING = 64,          /* on one link; more are left to the next one */
    WA_ASKS_NOTED = 64,            /* in the row; a newer one pushes out the oldest */
    WA_ASKS_HOUR = 120,
    WA_ASK_TRIES = 3,
    WA_ASK_ANSWER_MS = 30 * 1000, /* until a question counts as asked in vain */
    WA_ASK_LINKS = 12,            /* asked over at most so many, however short they were */
    WA_ASK_ANSWERS = 64,          /* messages taken out of one answer */
};

/* Plans to ask in `after_ms`. Nothing for messages of the phone itself, which is asked by retry. */
err_t wa_ask_phone(struct wa_client *c, const struct wa_info *info, int64_t after_ms) MUST_CHECK;
/* Logged in: plans what links before this one left open. */
err_t wa_asks_resume(struct wa_client *c) MUST_CHECK;
/* The wall clock was set back: what is due goes with it. */
void wa_asks_bring_forward(struct wa_client *c, int64_t by);
/* PeerDataOperationRequestResponseMessage, from the phone. */
err_t wa_phone_answered(struct wa_client *c, const struct wa_info *info,
                        struct slice response) MUST_CHECK;
/* The link has ended. */
void wa_asks_free(struct wa_client *c);
size_t wa_asks_memory(const struct wa_client *c);

/* Timer. */
err_t on_ask_due(struct wa_client *c);
