//! What the list shows, and how one walks through it.

use std::collections::HashSet;

use bulkhead_shared::domain::role::Role;

use super::Site;

/// New exports of the first source, the newest of all.
const ARRIVE: &str = "INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as)
    SELECT gen_random_uuid(), (SELECT id FROM bulkhead.sources LIMIT 1), 'group', 'new', decode(md5(random()::text), 'hex') FROM generate_series(1, 7)";

#[tokio::test(flavor = "multi_thread")]
async fn paging_visits_each_export_once_while_new_ones_arrive_and_back_again() {
    let site = Site::open().await;
    site.fill().await;
    let there = site.ids("SELECT id FROM bulkhead.exports ORDER BY created_at DESC, id DESC").await;
    let mut seen = Vec::new();
    let mut next = "/exports".to_owned();
    let mut last = String::new();
    loop {
        let got = site.get(&next).await;
        seen.extend(got.rows());
        site.sql(ARRIVE).await;
        last.clone_from(&next);
        match got.links().iter().find(|link| link.contains("after=")) {
            Some(older) => next.clone_from(older),
            None => break,
        }
    }
    assert_eq!(seen, there, "each once, in order, and none that came later");

    let mut back = site.get(&last).await.rows().into_iter().rev().collect::<Vec<_>>();
    let mut got = site.get(&last).await;
    while let Some(newer) = got.links().iter().find(|link| link.contains("before=")) {
        got = site.get(newer).await;
        back.extend(got.rows().into_iter().rev().filter(|id| !back.contains(id)).collect::<Vec<_>>());
    }
    let all = site.ids("SELECT id FROM bulkhead.exports ORDER BY created_at, id").await;
    assert_eq!(back, all, "back to the newest, with those that came");
    assert_eq!(back.iter().collect::<HashSet<_>>().len(), 180 + 4 * 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_what_its_export_does_waits_for_or_failed_of_in_both_languages() {
    let site = Site::open().await;
    site.sql(
        "INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES (gen_random_uuid(), 'a', 'https://one.example:8443/fhir', 'open');
         INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as, state, status_url, manifest_pages, manifest_complete, started_at, finished_at,
                                       failed_from, failure_stage, failure_reason, failure_detail, failure_remedy, resource_types, waits_for)
         SELECT i.id::uuid, s.id, 'group', i.g, i.g::bytea, i.state, i.g, 1, true, now() - interval '150 seconds', CASE WHEN i.state IN ('failed', 'completed') THEN now() END,
                CASE i.state WHEN 'failed' THEN 'queued' END, CASE i.state WHEN 'failed' THEN 'auth' END, CASE i.state WHEN 'failed' THEN 'unreachable' END, 'No answer.',
                CASE i.state WHEN 'failed' THEN 'retry' END, '{Patient,Condition,Encounter}', CASE i.g WHEN 'waiting' THEN '00000000-0000-0000-0000-000000000002'::uuid END
           FROM bulkhead.sources s, (VALUES ('00000000-0000-0000-0000-000000000001', 'broken', 'failed'), ('00000000-0000-0000-0000-000000000002', 'loads', 'loading'),
                ('00000000-0000-0000-0000-000000000003', 'waiting', 'queued'), ('00000000-0000-0000-0000-000000000004', 'cold', 'kicking_off'),
                ('00000000-0000-0000-0000-000000000005', 'again', 'authenticating')) i(id, g, state);
         INSERT INTO bulkhead.cool_downs SELECT id, 'Group/cold/$export', now() + interval '2 hours 1 minute', 'too recently' FROM bulkhead.sources;
         INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, attempt, max_attempts, next_run_at)
         SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000005', id, 'auth', 'control', 3, 20, now() + interval '3 minutes 10 seconds' FROM bulkhead.sources;
         INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind, state, bytes, parts)
         SELECT '00000000-0000-0000-0000-000000000002', n, n::text, n::text, 'output', CASE WHEN n < 4 THEN 'downloaded' ELSE 'pending' END, 1000000, 1 FROM generate_series(1, 8) n;
         INSERT INTO bulkhead.file_parts (export_id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256, state, rows, duplicates, rejects, loaded_at)
         SELECT export_id, id, 1, 'k', 0, 1000000, 1, 1234, 1234, '', CASE WHEN n < 3 THEN 'loaded' ELSE 'stored' END, CASE WHEN n < 3 THEN 1234 END, CASE WHEN n < 3 THEN 0 END,
                CASE WHEN n < 3 THEN 0 END, CASE WHEN n < 3 THEN now() END FROM bulkhead.export_files WHERE state = 'downloaded'",
    )
    .await;
    let english = site.get("/exports").await.html.replace('\u{a0}', " ");
    let row = |html: &str, n: u32| {
        let row = html.split(&format!("<tr id=\"e-00000000-0000-0000-0000-00000000000{n}\"")).nth(1).expect("a row");
        row.split("</tr>").next().expect("its end").to_owned()
    };
    for (n, says) in [
        (1, vec!["Failed", "Unreachable", "title=\"No answer.\"", "one.example:8443", "href=\"/exports/00000000", "Patient +2"]),
        (2, vec!["Loading", ">2/8<", "value=\"2\" max=\"8\"", "2,468", "8.00 MB", "2 min 3"]),
        (3, vec!["Queued", "Waits for the same export"]),
        (4, vec!["Asks again in 2 hours"]),
        (5, vec!["Try 4/20 in 3 minutes", ">3/20<"]),
    ] {
        let row = row(&english, n);
        for text in says {
            assert!(row.contains(text), "{text} in {row}");
        }
    }
    let chinese = site.get_in("/exports", "zh-CN").await.html;
    for (n, text) in [(1, "无法连接"), (2, "加载中"), (3, "等待相同的导出"), (4, "2 小时后再次请求"), (5, "第 4/20 次尝试，3 分钟后")]
    {
        assert!(row(&chinese, n).contains(text), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tiles_count_what_they_say_and_lead_to_it() {
    let site = Site::open().await;
    site.fill().await;
    site.sql(
        "INSERT INTO bulkhead.workers (id, name, version, lease_until, ended_at) VALUES
             (gen_random_uuid(), 'alive', '1', now() + interval '1 hour', NULL), (gen_random_uuid(), 'silent', '1', now() - interval '1 hour', NULL),
             (gen_random_uuid(), 'gone', '1', now() + interval '1 hour', now());
         WITH file AS (INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind) SELECT id, 1, 'u', 'u', 'output' FROM bulkhead.exports LIMIT 1 RETURNING id, export_id),
              part AS (INSERT INTO bulkhead.file_parts (export_id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256, state, rows, duplicates, rejects, loaded_at)
                       SELECT export_id, id, n, 'k', 0, 6000000, 1, 60000, 60000, '', 'loaded', 60000, 0, 0, now() FROM file, generate_series(1, 3) n RETURNING id, n, export_id)
         INSERT INTO bulkhead.stages (id, export_id, source_id, part_id, kind, lane, state, max_attempts, finished_at)
         SELECT gen_random_uuid(), e.id, e.source_id, part.id, 'load', 'load', 'done', 1, now() - CASE WHEN part.n = 3 THEN interval '2 minutes' ELSE interval '1 second' END
           FROM part JOIN bulkhead.exports e ON e.id = part.export_id",
    )
    .await;
    let html = site.get("/exports").await.html.replace('\u{a0}', " ");
    let tile = |name: &str| {
        html.split(&format!("id=\"tile-{name}\"")).nth(1).and_then(|rest| rest.split("</a>").next()).expect("a tile").to_owned()
    };
    let lately =
        |state: &str| format!("SELECT count(*) FROM bulkhead.exports WHERE state = '{state}' AND finished_at > now() - interval '1 day'");
    let (failed, completed) = (site.number(&lately("failed")).await, site.number(&lately("completed")).await);
    assert!(failed > 0 && completed > 0);
    for (name, value, link) in [
        ("running", "100".to_owned(), "/exports?state=running"),
        ("waiting", "20".to_owned(), "/exports?state=queued"),
        ("failed", failed.to_string(), "/exports?state=failed&ended=24h"),
        ("completed", completed.to_string(), "/exports?state=completed&ended=24h"),
        ("rate", "2,000 rows/s".to_owned(), "/exports?state=loading"),
        ("workers", "1".to_owned(), "/queue"),
    ] {
        let tile = tile(name);
        assert!(tile.contains(&format!("<strong>{value}</strong>")), "{name}: {value} in {tile}");
        assert!(tile.replace("&#38;", "&").contains(&format!("href=\"{link}\"")), "{tile}");
    }
    assert!(tile("rate").contains("200 kB/s"));
    let listed = site.listed("/exports?state=failed&ended=24h").await;
    assert_eq!(i64::try_from(listed.len()), Ok(failed), "the tile leads to what it counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_list_the_list_that_matches_nothing_and_its_help_say_what_to_do_in_both_languages() {
    let site = Site::open().await;
    let english = site.get("/exports").await.html;
    assert!(
        english.contains("Nothing has been exported yet")
            && english.contains("href=\"/new\"")
            && english.contains("/api/bulk-data/kick-off")
    );
    let chinese = site.get_in("/exports", "zh-CN").await.html;
    assert!(chinese.contains("还没有导出") && chinese.contains("快捷键与筛选"));
    site.fill().await;
    let none = site.get("/exports?q=nobody").await;
    assert!(none.html.contains("No export matches") && none.links().contains(&"/exports".to_owned()));
    assert!(site.get_in("/exports?q=nobody", "zh").await.html.contains("没有符合条件的导出"));
    for key in ["/", "j", "k", "x", "Enter", "?", "Esc"] {
        assert!(none.html.contains(&format!("<kbd>{key}</kbd>")), "{key} in the help");
    }
    for html in [&english, &chinese, &none.html] {
        assert!(!html.contains("⟦?⟧"), "a text is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_shown_as_text() {
    let site = Site::open().await;
    site.sql(
        r#"INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES (gen_random_uuid(), 'a', 'https://one.example/"><script>alert(1)</script>', 'open');
           INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as) SELECT gen_random_uuid(), id, 'group', '"><script>alert(2)</script>', '' FROM bulkhead.sources"#,
    )
    .await;
    for path in
        ["/exports", "/exports?q=%22%3E%3Cscript%3Ealert(3)%3C/script%3E", "/exports?q=script", "/exports/act?act=cancel&all=1&q=script"]
    {
        let got = site.get(path).await;
        assert_eq!(got.status, 200, "{path}");
        assert!(!got.html.contains("<script>alert"), "{path}: {}", got.html);
    }
    assert!(site.get("/exports").await.html.contains("&#60;script&#62;alert(2)"), "it is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_the_list_and_nothing_to_act_with() {
    let site = Site::of(Role::Viewer).await;
    site.fill().await;
    let got = site.get("/exports").await;
    assert_eq!(got.rows().len(), 50);
    for not in ["name=\"export\"", "name=\"act\"", "name=\"all\"", "href=\"/new\""] {
        assert!(!got.html.contains(not), "{not}");
    }
}
