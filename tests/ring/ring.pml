/* The index, doorbell and attachment protocol of a ring (ring/out.c, ring/in.c).
 *
 * Shared words are atomic and sequentially consistent; the C code orders them so where it
 * matters (a full fence between saying "I sleep" and looking again). SLOTS descriptors; a
 * record is its number and the life of the producer that wrote it. Either side is killed
 * between any two steps, KILLS times in all, and starts again.
 *
 * A doorbell is one bit: rings coalesce. With -DLOSSY a ring may also vanish, LOSSES times,
 * and one that sleeps looks again after a timeout (RING_RECHECK_MS); without it there are
 * no timeouts, so that a lost wakeup leaves both asleep for ever.
 *
 * Checked: no slot is read that is unpublished, overwritten or of another life; records
 * come in order, each once; when nothing moves any more both sides are attached and all
 * records were published and consumed, whoever was killed when.
 *
 * -DNO_RECHECK, -DNO_SPACE_RECHECK, -DNO_ATTACH_KICK, -DEARLY_PUBLISH, -DEARLY_TAIL,
 * -DNO_DETACH, -DNO_SECOND_LOOK and -DOLD_EPOCH each leave out one rule; each must be found wrong. */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef RECORDS
#define RECORDS 4
#endif
#ifndef KILLS
#define KILLS 1
#endif

/* producer's area */
byte request_seen, epoch, head;
bool space_wanted;
byte slot_number[SLOTS], slot_epoch[SLOTS];
/* consumer's page */
byte request, acknowledged, tail;
bool sleeping;
/* doorbells */
bool data_bell, space_bell;

byte fresh;          /* numbers of requests and epochs, all different */
byte kills, losses, producer_rechecks, consumer_rechecks;
byte published;      /* records so far, in all epochs */
byte base;           /* those before the current epoch */

#define LOSSES 1
#define RECHECKS 2
#ifdef LOSSY
#define RING(bell) if :: atomic { losses < LOSSES -> losses++; producer_rechecks = 0; consumer_rechecks = 0 } :: bell = true fi
#define WAIT(bell, rechecks) atomic { if :: bell :: timeout && rechecks < RECHECKS -> rechecks++ fi; bell = false }
#define AT_REST timeout && producer_rechecks == RECHECKS && consumer_rechecks == RECHECKS
#else
#define RING(bell) bell = true
#define WAIT(bell, rechecks) atomic { bell -> bell = false }
#define AT_REST timeout
#endif

#define MAY_DIE if :: atomic { kills < KILLS -> kills++ }; goto start :: skip fi

active proctype producer()
{
    byte seen, at, t;
start:
#ifndef NO_DETACH
    request_seen = 0;
#endif
    space_wanted = false;
    head = 0;
#ifndef OLD_EPOCH
    d_step { fresh++; epoch = fresh };
#endif
    seen = 0;
    at = 0;
    RING(data_bell);
attach:
    if
    :: request != seen ->
        seen = request;
        MAY_DIE;
#ifndef NO_DETACH
        request_seen = 0;
#endif
        head = 0;
        at = 0;
        d_step {
#ifndef OLD_EPOCH
            fresh++;
            epoch = fresh;
#endif
            base = published
        };
        MAY_DIE;
        request_seen = seen;
#ifndef NO_ATTACH_KICK
        RING(data_bell)
#endif
    :: else
    fi;
    if
    :: seen != 0 && acknowledged == epoch -> goto send
    :: else
    fi;
    /* idle: the pump sleeps on the space doorbell */
    WAIT(space_bell, producer_rechecks);
    goto attach;
send:
    if
    :: published == RECORDS -> goto drained
    :: else
    fi;
    if
    :: request != seen -> goto attach
    :: else
    fi;
    t = tail;
    if
    :: at - t < SLOTS && t <= at -> goto put
    :: else
    fi;
    space_wanted = true;
#ifndef NO_SPACE_RECHECK
    t = tail;
    if
    :: at - t < SLOTS && t <= at -> space_wanted = false; goto put
    :: else
    fi;
#endif
    if
    :: sleeping -> RING(data_bell)
    :: else
    fi;
    MAY_DIE;
    WAIT(space_bell, producer_rechecks);
    space_wanted = false;
    goto send;
put:
#ifdef EARLY_PUBLISH
    head = at + 1;
#endif
    MAY_DIE;
    slot_epoch[at % SLOTS] = epoch;
    slot_number[at % SLOTS] = published + 1;
    MAY_DIE;
    d_step { at++; published++; head = at };
    if
    :: sleeping -> RING(data_bell)
    :: else
    fi;
    goto send;
drained: /* a consumer that starts again is still answered */
    WAIT(space_bell, producer_rechecks);
    if
    :: request != seen -> goto attach
    :: else -> goto drained
    fi
}

active proctype consumer()
{
    byte asked, mine, got, e, h, r1, r2, n, expected;
    bool asleep;
start:
    sleeping = false;
    asleep = false;
    acknowledged = 0;
    mine = 0;
    got = 0;
    tail = 0;
    d_step { fresh++; asked = fresh };
    MAY_DIE;
    request = asked;
    RING(space_bell);
look:
    n = 0;
    r1 = request_seen;
    if
    :: r1 != asked -> goto looked
    :: else
    fi;
    e = epoch;
    h = head;
#ifndef NO_SECOND_LOOK
    r1 = request_seen;
    r2 = epoch;
    if
    :: r1 != asked || r2 != e -> goto looked
    :: else
    fi;
#endif
    if
    :: e != mine ->
        mine = e;
        got = 0;
        tail = 0;
        MAY_DIE;
        acknowledged = e;
        expected = 0;
        RING(space_bell)
    :: else
    fi;
    assert(h >= got && h - got <= SLOTS);
    n = h - got;
looked:
    if
    :: n == 0 && !asleep ->
        asleep = true;
        sleeping = true;
#ifdef NO_RECHECK
        goto sleep
#else
        goto look
#endif
    :: n == 0 && asleep -> goto sleep
    :: else
    fi;
take:
#ifdef EARLY_TAIL
    tail = got + 1;
#endif
    MAY_DIE;
    d_step {
        assert(slot_epoch[got % SLOTS] == mine);
        assert(epoch != mine || expected != 0 || slot_number[got % SLOTS] == base + 1);
        assert(expected == 0 || slot_number[got % SLOTS] == expected);
        expected = slot_number[got % SLOTS] + 1
    };
    got++;
    n--;
    if
    :: n > 0 -> goto take
    :: else
    fi;
    tail = got;
    if
    :: space_wanted -> RING(space_bell)
    :: else
    fi;
    goto look;
sleep:
    MAY_DIE;
    WAIT(data_bell, consumer_rechecks);
    asleep = false;
    sleeping = false;
    goto look
}

active proctype observer()
{
    AT_REST;
    assert(published == RECORDS && request_seen == request && acknowledged == epoch && tail == head)
}
