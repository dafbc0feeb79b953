-- Sends sixteen requests in one write. `cargo xtask bench limit` gives it to wrk, which counts the
-- sixteen answers one by one.
init = function()
  local requests = {}
  for i = 1, 16 do
    requests[i] = wrk.format("GET", "/plaintext")
  end
  batch = table.concat(requests)
end

request = function()
  return batch
end
