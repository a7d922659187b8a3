/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls sent ahead to a busy worker and taken back (dataplane/worker_dispatch.c,
 * controller/worker/take.c, labels ahead.*). Two calls, sent and sent again; the numbers that
 * the worker publishes pass through a store buffer, as in doorbell.pml. The controller may take
 * back what has not begun at any moment, may end the worker and start another one, and hears of
 * the worker by a ring of answers. The worker can be stopped between any two of its steps.
 *
 * Holds: a call is run at most once, whatever happens; an honest worker never says what nobody
 * expects; in the end each call has one answer, and only those that a worker's end caught under
 * way, or were taken for that, may not have run. What is taken back comes to the front of the
 * queue in the order in which it was there before.
 *
 * MUTANT NO_BARRIER   the controller fences itself only
 * MUTANT MARK_FIRST   the worker looks at the mark before it publishes
 * MUTANT NO_PUBLISH   the worker publishes after it has run the call
 * MUTANT MARK_SHORT   the mark leaves the last call out
 * MUTANT READ_FIRST   the controller looks at the number before it marks
 * MUTANT KILL_UNREAD  what has begun in a worker that is ended is sent again
 * MUTANT SKIP_UNHEARD  the controller does not heed SKIPPED
 * MUTANT ONE_BY_ONE    each goes back when it is told that it was skipped
 * MUTANT NOT_HELD      more is sent behind one that may be skipped yet
 */
#define CALLS 2
#define SENDS 6 /* in one life: CALLS * (1 + BACKS) */
#define BACKS 2 /* how often it takes back */
#define LIVES 2
#define SKIPPED 100

byte mark, taken, taken_pending; /* numbers of dispatches in this life */
chan ring = [SENDS] of { byte };    /* to the worker: which call */
chan answers = [SENDS] of { byte }; /* and back; SKIPPED + number */
bit alive, listening;
byte runs[CALLS];
byte life;

/* the controller's */
byte owed[SENDS], numbers[SENDS];   /* what it thinks the worker has, in order */
byte owed_count, dispatches;
#ifdef NOT_HELD
#define MORE 1
#else
#define MORE (!held || owed_count == 0)
#endif
bit held; /* the first of them may be skipped yet: no more behind it */
byte front; /* of the queue */
bit queued[CALLS], answered[CALLS], failed[CALLS];

inline flush()
{
	atomic {
		if
		:: taken_pending > taken -> taken = taken_pending
		:: else
		fi
	}
}

proctype drainer()
{
end:	do
	:: taken_pending > taken -> flush()
	od
}

/* A life. Its end may fall between any two steps. */
proctype worker(byte me)
{
	byte call, n = 0, seen;

	{
end:		do
		:: ring?call ->
			n++;
#ifdef MARK_FIRST
			seen = mark;
#endif
#ifndef NO_PUBLISH
			taken_pending = n;
#endif
#ifndef MARK_FIRST
			seen = mark;
#endif
			if
			:: seen >= n -> atomic { flush(); answers!(SKIPPED + n) }
			:: else ->
				atomic { runs[call]++; assert(runs[call] <= 1) };
				/* the answer is a release store */
				atomic { taken_pending = n; flush(); answers!call }
			fi
		od
	} unless { !alive || life != me }
}

inline prepend(which)
{
	front = which;
	queued[which] = 1
}

/* The last one that the worker has not begun goes back to the queue, and so on. */
inline give_back(upto)
{
	do
	:: owed_count > 0 && numbers[owed_count - 1] > upto ->
		owed_count--;
		prepend(owed[owed_count])
	:: else -> break
	od
}

inline withdraw()
{
#ifdef READ_FIRST
	seen = taken;
#endif
#ifdef MARK_SHORT
	mark = (dispatches > 0 -> dispatches - 1 : 0);
#else
	mark = dispatches;
#endif
#ifndef NO_BARRIER
	flush();
#endif
#ifndef READ_FIRST
	seen = taken;
#endif
	atomic { held = 1; give_back(seen) }
}

/* The first that it thinks under way has ended. */
inline first_over()
{
	i = 0;
	owed_count--;
	do
	:: i < owed_count ->
		owed[i] = owed[i + 1];
		numbers[i] = numbers[i + 1];
		i++
	:: else -> break
	od;
	held = (owed_count > 0 && numbers[0] <= mark)
}

inline on_answer(what)
{
	if
	:: what >= SKIPPED ->
#ifndef SKIP_UNHEARD
		if
		:: owed_count > 0 && numbers[0] == what - SKIPPED ->
#ifdef ONE_BY_ONE
			prepend(owed[0]);
			first_over()
#else
			give_back(what - SKIPPED - 1)
#endif
		:: else
		fi
#else
		skip
#endif
	:: else ->
		assert(owed_count > 0 && owed[0] == what); /* else -EPROTO for an honest one */
		assert(runs[what] == 1 && !answered[what]);
		answered[what] = 1;
		first_over()
	fi
}

/* What has begun, as far as is known, fails. */
inline fail_rest()
{
	i = 0;
	do
	:: i < owed_count ->
#ifdef KILL_UNREAD
		prepend(owed[i]);
#else
		answered[owed[i]] = 1;
		failed[owed[i]] = 1;
#endif
		i++
	:: else -> break
	od;
	owed_count = 0
}

/* It is not listened to any more, and goes on until the signal comes. */
inline end_life()
{
	withdraw();
	atomic { fail_rest(); listening = 0 };
	alive = 0
}

/* It has died: what it said before counts, and its number is the last one. */
inline crash()
{
	atomic {
		alive = 0;
		flush();
		do
		:: answers?what -> on_answer(what)
		:: empty(answers) -> break
		od;
		give_back(taken);
		fail_rest();
		listening = 0
	}
}

inline begin_life()
{
	atomic {
		do
		:: ring?what
		:: empty(ring) -> break
		od;
		do
		:: answers?what
		:: empty(answers) -> break
		od;
		mark = 0;
		taken = 0;
		taken_pending = 0;
		dispatches = 0;
		life++;
		alive = 1;
		listening = 1;
		run worker(life)
	}
}

proctype controller()
{
	byte i, what, seen, backs = 0;

	begin_life();
	do
	:: atomic {
		listening && (queued[0] || queued[1]) && MORE ->
		assert(!queued[0] || !queued[1] || front == 0);
		what = (queued[0] && queued[1] -> front : (queued[0] -> 0 : 1));
		queued[what] = 0;
		held = 0;
		owed[owed_count] = what;
		dispatches++;
		numbers[owed_count] = dispatches;
		owed_count++;
		ring!what
	   }
	:: atomic { listening && answers?[what] -> answers?what; on_answer(what) }
	:: backs < BACKS && listening && owed_count > 0 -> backs++; withdraw()
	:: life < LIVES && listening -> end_life()
	:: life < LIVES && listening -> crash()
	:: !listening && life < LIVES -> begin_life()
	:: answered[0] && answered[1] -> break
	od;
	/* Success means that it has run; nothing runs that nobody waits for. */
	i = 0;
	do
	:: i < CALLS ->
		assert(runs[i] == 1 || failed[i]);
		i++
	:: else -> break
	od
}

init
{
	atomic {
		queued[0] = 1;
		queued[1] = 1;
		run drainer();
		run controller()
	}
}
