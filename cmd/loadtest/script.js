// What k6 asks of central. loadtest sets the environment and reads what handleSummary
// writes; the shares of each class are in `mix`.
import http from 'k6/http';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

const scene = JSON.parse(open(__ENV.SCENE));
const rate = Number(__ENV.RATE);
const base = __ENV.BASE + '/api/v1';
const classes = ['events', 'event', 'ticket types', 'schedule', 'today', 'of a venue', 'session', 'register', 'check in'];
const unexpected = new Counter('unexpected');
const answered = new Counter('answered');

const warm = Number(__ENV.WARMUP);
const load = {
  executor: 'constant-arrival-rate', rate, timeUnit: '1s',
  preAllocatedVUs: Math.max(20, Math.ceil(rate / 10)), maxVUs: Math.max(100, rate),
};
export const options = {
  scenarios: {
    warm: { ...load, duration: `${warm}s`, tags: { phase: 'warm' }, gracefulStop: '5s' },
    load: { ...load, duration: `${__ENV.SECONDS}s`, startTime: `${warm}s`, tags: { phase: 'load' }, gracefulStop: '10s' },
  },
  // A threshold makes k6 keep the figures of one tag.
  thresholds: Object.fromEntries([
    ['http_req_duration{phase:load}', ['max>=0']],
    ['dropped_iterations{phase:load}', ['count>=0']],
    ['iterations{phase:load}', ['count>=0']],
    ['unexpected{phase:load}', ['count>=0']],
    ['answered{phase:load}', ['count>=0']],
    ...classes.flatMap((c) => [[`http_req_duration{phase:load,class:${c}}`, ['max>=0']], [`answered{phase:load,class:${c}}`, ['count>=0']]]),
  ]),
  summaryTrendStats: ['count', 'avg', 'med', 'p(90)', 'p(99)', 'max'],
  discardResponseBodies: true,
  noVUConnectionReuse: false,
  systemTags: ['scenario'],
};

const tags = {}; // of the last answer of each path, as a browser keeps them
let told = 0;

function see(name, res, ...expected) {
  answered.add(1, { class: name });
  if (expected.includes(res.status)) return true;
  unexpected.add(1, { class: name });
  if (told++ < 3) console.error(`${name}: ${res.status} ${res.error} ${res.body || ''}`);
  return false;
}

function read(name, path, from) {
  const headers = { 'X-Forwarded-For': from, 'Accept-Encoding': 'gzip' };
  const known = Math.random() < 0.5 && tags[path];
  if (known) headers['If-None-Match'] = known;
  const res = http.get(base + path, { headers, tags: { class: name } });
  see(name, res, 200, ...(known ? [304] : []));
  if (res.headers.Etag) tags[path] = res.headers.Etag;
}

function register(n, from) {
  const body = JSON.stringify({ event_id: scene.events[0], ticket_type: 'day', name: `Guest ${n}`, email: `new${n}@example.org` });
  const params = { headers: { 'X-Forwarded-For': from, 'Content-Type': 'application/json' }, tags: { class: 'register' }, responseType: 'text' };
  const res = http.post(base + '/attendees/register', body, params);
  if (!see('register', res, 201) || Math.random() >= 0.2) return;
  params.tags = { class: 'check in' };
  params.headers.Authorization = 'Bearer ' + scene.keys[n % scene.keys.length];
  const checked = http.post(base + '/attendees/checkin', JSON.stringify({ code: res.json('data.ticket.code') }), params);
  see('check in', checked.status === 200 && checked.json('data.decision') === 'admit' ? checked : { status: 0, error: 'not admitted', body: checked.body }, 200);
}

const any = (list) => list[Math.floor(Math.random() * list.length)];
const mix = [
  [20, (_, from) => read('events', '/events', from)],
  [25, (_, from) => read('event', `/events/${any(scene.events)}`, from)],
  [10, (_, from) => read('ticket types', `/events/${any(scene.events)}/ticket-types`, from)],
  [10, (_, from) => read('schedule', `/schedule?event=${any(scene.events)}`, from)],
  [10, (_, from) => read('today', '/schedule/today', from)],
  [10, (_, from) => read('of a venue', `/schedule/venue/${any(scene.venues)}`, from)],
  [10, (_, from) => read('session', `/sessions/${any(scene.sessions)}`, from)],
  [5, register],
];

export default function () {
  // Every guest has an address of his own; a minute's worth of them asks within the limit.
  const n = exec.scenario.iterationInTest + (exec.scenario.name === 'warm' ? 0 : rate * warm);
  const from = `10.${(n >> 8) & 63}.${n & 255}.1`;
  let at = Math.random() * 100;
  for (const [share, ask] of mix) {
    if ((at -= share) < 0) return ask(n, from);
  }
  return mix[0][1](n, from);
}

export function handleSummary(data) {
  return { [__ENV.OUT]: JSON.stringify(data) };
}
