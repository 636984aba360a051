-- The load of checks for wrk: the customers of a file in turn, the replies counted by their source.
-- Arguments: the file with a request, "@" where the customer's id goes; the file of ids, one a line; the source wanted.

local SAMPLE_EVERY, SAMPLES_MAX = 997, 32

local only
function setup(thread)
   only = thread -- wrk is run with one
end

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   local before, after = file:read("*a"):match("^(.-)@(.*)$")
   file:close()
   requests = {}
   for id in io.lines(arguments[2]) do
      requests[#requests + 1] = before .. id .. after
   end
   at = 0
   wanted = '"source":"' .. arguments[3] .. '"'
   as_wanted, sources, refused, samples = 0, {}, {}, {}
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function response(status, headers, body)
   if status == 200 and body:find(wanted, 1, true) then
      as_wanted = as_wanted + 1
      if as_wanted % SAMPLE_EVERY == 1 and #samples < SAMPLES_MAX then
         samples[#samples + 1] = body
      end
      return
   end
   local source = status == 200 and body:match('"source":"(%w+)"')
   if source then
      sources[source] = (sources[source] or 0) + 1
   else
      local cause = status .. " " .. (body:match('"code":"([%w_]+)"') or "")
      refused[cause] = (refused[cause] or 0) + 1
   end
end

function done(summary, latency)
   local function told(counts)
      local parts = {}
      for name, count in pairs(counts) do
         parts[#parts + 1] = string.format("%q:%d", name, count)
      end
      return "{" .. table.concat(parts, ",") .. "}"
   end
   local errors = summary.errors
   print(string.format(
      'amana:{"wanted":%d,"sources":%s,"refused":%s,"broken":%d,"seconds":%f,' ..
         '"p50_ms":%f,"p99_ms":%f,"p999_ms":%f,"max_ms":%f}',
      only:get("as_wanted"), told(only:get("sources")), told(only:get("refused")),
      errors.connect + errors.read + errors.write + errors.timeout, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3))
   for _, body in ipairs(only:get("samples")) do
      print("sample:" .. body)
   end
end
