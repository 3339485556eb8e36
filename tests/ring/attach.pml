/* Attachment heals (ring/out.c, ring/in.c): whatever somebody wrote into the shared words
 * up to some moment, a consumer or producer that was taken over for a while, both sides
 * agree again when they are honest. ring.pml is the model of attachment under kills.
 *
 * A scribbler writes SCRIBBLES times into any word, between any two steps. A round of
 * the clock is silence for longer than RING_ANEW_MS: it comes when nothing else moves, so
 * not before the scribbler has ended. `good` stands for magic, version, sizes.
 *
 * -DNO_ASK_ANEW, -DNO_ANSWER_ANEW, -DNO_FACTS and -DNO_REPEAT each leave out one rule; each
 * must be found wrong. */
#ifndef SCRIBBLES
#define SCRIBBLES 2
#endif
#define ROUNDS 4

/* producer's area */
byte seen, epoch;
bool good;
/* consumer's page */
byte request, acknowledged;
/* doorbells, and who shall look because nothing rang */
bool data_bell, space_bell, producers_look, consumers_look;
byte rounds;

byte fresh; /* of requests and epochs */
byte own;   /* what the producer knows of its epoch, */
byte asked, mine; /* the consumer of its request and of the epoch it acknowledged */

#define WAIT(bell, look, silent) atomic { if :: bell -> silent = false :: look -> look = false; silent = true fi; bell = false }

#ifdef NO_ANSWER_ANEW
#define UNHEARD false
#else
#define UNHEARD (r != 0 && silent && acknowledged != own)
#endif

inline start_epoch()
{
    d_step {
        fresh++;
        if :: fresh == acknowledged -> fresh++ :: else fi;
        own = fresh;
        epoch = own
    }
}

inline ask()
{
    d_step { fresh++; if :: fresh == seen -> fresh++ :: else fi; asked = fresh };
    request = asked;
    space_bell = true
}

active proctype producer()
{
    byte answered, r;
    bool silent;
    seen = 0;
    good = true;
    start_epoch();
look:
    r = request;
    if
    :: r != answered || UNHEARD ->
        answered = r;
        seen = 0;
#ifndef NO_FACTS
        good = true;
#endif
        start_epoch();
        seen = r;
        data_bell = true
    :: else
    fi;
    WAIT(space_bell, producers_look, silent);
    goto look
}

active proctype consumer()
{
    byte s, e, s2, e2;
    bool g, attached, silent;
    acknowledged = 0;
    ask();
look:
    attached = false;
    s = seen;
    e = epoch;
    g = good;
    s2 = seen;
    e2 = epoch;
    if
    :: s == asked && s2 == s && e2 == e && (e == mine || g) ->
        attached = true;
        if
        :: e != mine -> mine = e; acknowledged = e; space_bell = true
        :: else
        fi
    :: else
    fi;
#ifndef NO_ASK_ANEW
    if
    :: !attached && silent -> ask()
    :: else
    fi;
#endif
#ifndef NO_REPEAT
    acknowledged = mine;
    request = asked;
#endif
    WAIT(data_bell, consumers_look, silent);
    goto look
}

active proctype scribbler()
{
    byte left = SCRIBBLES, value;
    do
    :: left > 0 ->
        left--;
        if :: value = 0 :: value = 255 :: value = fresh :: value = fresh + 1 fi;
        if
        :: seen = value
        :: epoch = value
        :: good = false
        :: request = value
        :: acknowledged = value
        fi
    :: left == 0 -> break
    od
}

active proctype clock()
{
    do
    :: atomic { timeout && rounds < ROUNDS -> rounds++; producers_look = true; consumers_look = true }
    :: timeout && rounds == ROUNDS -> break
    od;
    assert(seen == asked && request == asked && epoch == own && mine == own && acknowledged == own)
}
