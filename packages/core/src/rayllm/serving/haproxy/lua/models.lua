-- The gateway's own answers about models: the list, one of them, and what is near to a name, or to the path of an
-- endpoint, that is not there.
--
-- They hold what the caller's key may use and nothing else. The maps decide, as they do for a request that is routed,
-- so a change of a map while HAProxy runs counts at once. A map can't be walked, so the names come from its file, which
-- is read again once a second at most.

local names_file, may_file, adapters_file = table.unpack(table.pack(...))
local names_map = Map.new(names_file, Map._str)
local may_map = Map.new(may_file, Map._str)
local adapters_map = Map.new(adapters_file, Map._str)

local LISTED = 10 -- names in an error, at most
local NEAR = 3 -- names that are suggested, at most
local LONGEST = 100 -- bytes of the unknown name that are looked at
local WORK = 10000 -- steps of comparing names for one answer, at most
local SLIPS = 3 -- letters that may be wrong in the path of an endpoint, at most
local LONGEST_PATH = 200 -- bytes of a path that an error shows

local OWN = { ["/health"] = true, ["/v1/models"] = true } -- the gateway's own, if the path does not name a model

local known, read_at = {}, -1
local lists = {} -- endpoints, by the file that holds them

local function names()
  local now = core.now().sec
  if now ~= read_at then
    local file = io.open(names_file)
    if file then
      known = {}
      for line in file:lines() do known[#known + 1] = line:match("^%S+") end
      file:close()
      table.sort(known)
    end
    read_at = now
  end
  return known
end

-- As access.permit() has it: a key with the scope `*`, or no key where none is needed, may use every name.
local function allowed(applet)
  local key, rule = applet:get_var("txn.key"), applet:get_var("txn.rule")
  local all = not key or not rule or rule:sub(-1) == "*"
  return function(name)
    return names_map:lookup(name) and (all or may_map:lookup(key .. "/" .. name))
  end
end

local function offered(applet)
  local found, may = {}, allowed(applet)
  for _, name in ipairs(names()) do
    if may(name) then found[#found + 1] = name end
  end
  return found
end

-- What differs between two names: without what they begin and end with alike.
local function differing(one, other)
  local first, left, right = 1, #one, #other
  while first <= left and first <= right and one:byte(first) == other:byte(first) do first = first + 1 end
  while left >= first and right >= first and one:byte(left) == other:byte(right) do
    left, right = left - 1, right - 1
  end
  return one:sub(first, left), other:sub(first, right)
end

-- Changes that turn one name into the other, each of one letter or of two neighbours that change places; `limit` + 1 for
-- any number above the limit.
local function distance(one, other, limit)
  local before, above = {}, nil -- the last row, and the one before it
  for column = 0, #other do before[column] = column end
  local last -- the letter before this one
  for row = 1, #one do
    local now, least = { [0] = row }, row
    local letter, left = one:byte(row), nil
    for column = 1, #other do
      local there = other:byte(column)
      local best = before[column - 1]
      if letter ~= there then
        best = 1 + math.min(best, before[column], now[column - 1])
        if letter == left and last == there then best = math.min(best, above[column - 2] + 1) end
      end
      now[column] = best
      if best < least then least = best end
      left = there
    end
    if least > limit then return limit + 1 end
    above, before, last = before, now, letter
  end
  return before[#other]
end

-- Places of `among` from where `asked` would stand on outwards: what begins alike comes first.
local function outwards(asked, among)
  local place = 1
  while place <= #among and among[place] < asked do place = place + 1 end
  local down, up = place - 1, place
  return function()
    if down < 1 and up > #among then return nil end
    if up > #among or (down >= 1 and place - down <= up - place) then
      down = down - 1
      return down + 1
    end
    up = up + 1
    return up - 1
  end
end

local function nearest(asked, among)
  asked = asked:lower()
  local limit, work, near, found = #asked // 3, WORK, {}, {}
  for _, name in ipairs(among) do
    if #asked > 1 and name:lower():find(asked, 1, true) then -- a part of the name, as "llama" of "llama-3.1-8b"
      near[#near + 1], found[name] = { #name == #asked and 0 or limit, name }, true
    end
  end
  for place in outwards(asked, among) do
    local name = among[place]
    if not found[name] and math.abs(#name - #asked) <= limit then
      local left, right = differing(asked, name:lower())
      work = work - #asked - #left * #right
      if work < 0 then break end
      local far = distance(left, right, limit)
      if far <= limit then near[#near + 1] = { far, name } end
    end
  end
  table.sort(near, function(one, other)
    if one[1] ~= other[1] then return one[1] < other[1] end
    return one[2] < other[2]
  end)
  local best = {}
  for place = 1, math.min(NEAR, #near) do best[place] = near[place][2] end
  return best
end

-- The lines of a file with endpoints: its name tells of its content, so it is read once.
local function listed(file)
  if not lists[file] then
    local text = io.open(file)
    if not text then return {} end -- gone with a reload
    lists[file] = {}
    for line in text:lines() do table.insert(lists[file], line) end
    text:close()
  end
  return lists[file]
end

-- The endpoint that a path was meant for: the same below /v1, as clients have it whose address lacks that, or one that
-- differs by some letters; nil if there is none. `exact` and `below` are the files with a model's endpoints.
local function meant(path, exact, below, by_path)
  if #path > LONGEST_PATH then return nil end
  local under = "/v1" .. path
  for _, start in ipairs(listed(below)) do
    if under:sub(1, #start) == start and under:match("^[%w/_-]+$") and not under:find("//", 1, true) then return under end
  end
  local best, least = nil, math.min(SLIPS, #path // 3) + 1
  for _, endpoint in ipairs(listed(exact)) do
    for _, asked in ipairs((by_path or not OWN[endpoint]) and { under, path } or {}) do
      if math.abs(#asked - #endpoint) < least then
        local left, right = differing(asked:lower(), endpoint)
        local far = distance(left, right, least - 1)
        if far < least then best, least = endpoint, far end
      end
    end
  end
  return best
end

local function answer(applet, status, body)
  applet:set_status(status)
  applet:add_header("content-type", "application/json")
  applet:add_header("content-length", tostring(#body))
  applet:start_response()
  if applet.method ~= "HEAD" then applet:send(body) end
end

-- When a model was made is not known here; OpenAI's clients require the number. An adapter has a parent, as engines
-- tell of it.
local function object(name)
  local model = names_map:lookup(name)
  local parent = model and adapters_map:lookup(model .. "/" .. name)
    and ', "root": "' .. model .. '", "parent": "' .. model .. '"' or ""
  return '{"id": "' .. name .. '", "object": "model", "created": 0, "owned_by": "rayllm"' .. parent .. "}"
end

local function list(applet)
  local objects = {}
  for place, name in ipairs(offered(applet)) do objects[place] = object(name) end
  answer(applet, 200, '{"object": "list", "data": [' .. table.concat(objects, ", ") .. "]}")
end

local function unknown(applet)
  local asked = (applet:get_var("txn.name") or ""):sub(1, LONGEST)
  local may = offered(applet)
  local near = nearest(asked, may)
  local said = ""
  if #near > 0 then said = '; did you mean "' .. table.concat(near, '", "') .. '"?' end
  if #may == 0 then
    said = said .. "; there are no models here yet"
  elseif #may <= LISTED then
    said = said .. (#near > 0 and " The" or "; the") .. " models here are: " .. table.concat(may, ", ")
  else
    said = said .. (#near > 0 and " " or "; ") .. "GET /v1/models lists all " .. #may
  end
  -- Names of models need no escapes; what was asked for may be anything, cut within a letter too.
  local message = 'there is no model \\"' .. applet.c:json(asked, "utf8ps") .. '\\"' .. said:gsub('"', '\\"')
  answer(applet, 404, '{"error": {"message": "' .. message
    .. '", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}')
end

local function one(applet)
  local name = applet:get_var("txn.name") or ""
  if not allowed(applet)(name) then return unknown(applet) end
  answer(applet, 200, object(name))
end

core.register_fetches("rayllm_meant", function(txn, exact, below)
  local endpoint = meant(txn.f:path(), exact, below, txn:get_var("txn.by_path"))
  return endpoint and "; did you mean " .. endpoint .. "?" or ""
end)
core.register_service("models", "http", list)
core.register_service("model", "http", one)
core.register_service("unknown-model", "http", unknown)
