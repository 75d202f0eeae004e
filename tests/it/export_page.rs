//! The page of one export, as a browser without scripts uses it; and the page of failures.

use bulkhead_tests::{App, SandboxConfig, Setup, app::client};
use uuid::Uuid;

use crate::{
    data_page::page::{pages, read},
    loading::{GROUP, start},
    new_export::{Seen, get, post},
    setup,
};

/// Of a page what people read: no elements, and what is escaped as it is.
fn text(html: &str) -> String {
    let main = html.split("<main").nth(1).and_then(|rest| rest.split("</main>").next()).unwrap_or(html);
    let pieces = main.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, after)| after));
    let joined = pieces.collect::<Vec<_>>().join(" ").replace("&#39;", "'").replace("&#34;", "\"").replace("&amp;", "&");
    joined.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn page_of(base: &str, job: Uuid) -> Seen {
    let page = get(base, &format!("/exports/{job}")).await;
    assert_eq!(page.status, 200, "{}", page.html);
    page
}

async fn acts(app: &App, job: Uuid) -> Vec<String> {
    sqlx::query_scalar("SELECT act FROM bulkhead.audit_log WHERE object = $1 ORDER BY id")
        .bind(job.to_string())
        .fetch_all(&app.pool)
        .await
        .expect("the log")
}

/// Conditions with a line that is none.
async fn incomplete(app: &App) -> Uuid {
    app.sandbox.fault("file:malformed-line*always@Condition");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    app.until(job, "failed").await;
    app.sandbox.clear_faults();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_in_words_its_line_is_shown_when_asked_for_and_it_can_be_accepted() {
    let app = start().await;
    let job = incomplete(&app).await;
    let base = pages(&app).await;
    let page = page_of(&base, job).await;
    let seen = text(&page.html);
    let rows: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM patients WHERE etl_job_id = $1) + (SELECT count(*) FROM conditions WHERE etl_job_id = $1)",
    )
    .bind(job)
    .fetch_one(&app.pool)
    .await
    .expect("SQL");
    assert!(seen.contains("Failed:") && seen.contains("What to do:"), "{seen}");
    assert!(seen.replace(',', "").contains(&format!("{rows} rows came and stay in the database")), "{rows}: {seen}");
    for (there, label) in [("/retry", "Retry"), ("/accept", "Accept the gaps"), ("/delete", "Delete")] {
        assert!(page.html.contains(&format!("/exports/{job}{there}")) && seen.contains(label), "{label}: {seen}");
    }
    let (chinese, _) = read(&base, &format!("/exports/{job}"), "zh-CN").await;
    assert!(!chinese.contains('⟦') && chinese.contains("重试"), "a text lacks");

    // Where the line stands and why: everybody may know. What is in it: only who asks for it, and that is written down.
    let place = get(&base, &format!("/exports/{job}/rejected")).await;
    let line: Vec<u8> = sqlx::query_scalar("SELECT bytes FROM bulkhead.rejected_lines WHERE export_id = $1 LIMIT 1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("a line");
    let beginning = String::from_utf8_lossy(&line[..20]).replace('"', "&#34;");
    assert!(place.status == 200 && !place.html.contains(&beginning), "{}", place.html);
    assert!(!acts(&app, job).await.contains(&"resource_seen".to_owned()));
    let shown = get(&base, &format!("/exports/{job}/rejected?contents=yes")).await;
    assert!(shown.html.contains(&beginning), "{beginning} is not in {}", shown.html);
    assert!(acts(&app, job).await.contains(&"resource_seen".to_owned()));

    let ask = get(&base, &format!("/exports/{job}/accept")).await;
    assert!(ask.status == 200 && ask.html.contains(&format!("action=\"/exports/{job}/accept\"")), "{}", ask.html);
    assert_eq!(app.status(job).await["status"], "failed", "asking does nothing");
    let accepted = post(&base, &format!("/exports/{job}/accept"), &[]).await;
    let now = text(&accepted.html);
    assert!(accepted.path == format!("/exports/{job}") && now.contains("The gaps are accepted") && !now.contains("failed."), "{now}");
    app.until(job, "completed").await;
    let done = text(&page_of(&base, job).await.html);
    assert!(done.contains("Completed with gaps that were accepted"), "{done}");
    assert!(acts(&app, job).await.contains(&"export_accepted".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_late_is_said_and_changes_nothing() {
    let app = start().await;
    let base = pages(&app).await;
    let job = app.export_of(GROUP, &["Patient"]).await;
    app.until(job, "completed").await;
    for act in ["retry", "cancel", "accept"] {
        let answer = post(&base, &format!("/exports/{job}/{act}"), &[]).await;
        assert!(answer.path == format!("/exports/{job}") && answer.html.contains("notice bad"), "{act}: {}", answer.html);
        assert_eq!(app.status(job).await["status"], "completed", "{act}");
    }
    let unknown = get(&base, &format!("/exports/{}", Uuid::now_v7())).await;
    assert!(unknown.status == 404 && unknown.html.contains("<html"), "a page for people: {}", unknown.html);
    assert_eq!(get(&base, "/exports/no-id").await.status, 400);
    let gone = post(&base, &format!("/exports/{job}/delete"), &[]).await;
    assert_eq!((gone.status, gone.path.as_str()), (200, "/exports"));
    app.until_gone().await;
    assert_eq!(get(&base, &format!("/exports/{job}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_died_and_the_attempt_after_it_are_one_story() {
    let mut app = App::start(Setup { workers: 1, ..setup() }).await;
    let base = pages(&app).await;
    app.sandbox.fault("file:hold=half@Condition");
    let job = app.export_of("FallonHealth", &["Condition"]).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    let running = text(&page_of(&base, job).await.html);
    assert!(running.contains("Downloading: 0 of 1 file are here") || running.contains("Downloading: 0 of 1 file"), "{running}");
    app.workers[0].kill();
    app.sandbox.release();
    app.until_sql("SELECT NOT EXISTS (SELECT FROM bulkhead.workers WHERE lease_until > clock_timestamp()) AND $1 IS NOT NULL", job).await;
    let alone = text(&page_of(&base, job).await.html);
    assert!(alone.contains("No worker is running, so nothing goes on"), "{alone}");
    app.add_worker();
    app.until(job, "completed").await;
    let page = page_of(&base, job).await;
    let seen = text(&page.html);
    assert!(seen.contains("Completed:") && seen.contains("1 attempt failed"), "the phase of the download tells it: {seen}");
    let workers: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM bulkhead.workers ORDER BY started_at").fetch_all(&app.pool).await.expect("workers");
    assert_eq!(workers.len(), 2);
    let story = page.html.split("id=\"story\"").nth(1).expect("the story");
    assert!(story.contains("download") || story.contains("Download"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_paused_counts_its_files_once_also_those_whose_stages_are_purged() {
    let app = start().await;
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    app.until(job, "completed").await;
    let files: i64 = sqlx::query_scalar("SELECT count(*) FROM bulkhead.stages WHERE export_id = $1 AND kind = 'download'")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("SQL");
    sqlx::query(
        "INSERT INTO bulkhead.export_phases (export_id, kind, began_at, ended_at, stages, runs, snoozes, busy)
         SELECT id, 'download', created_at - interval '9 min', created_at, 30, 30, 0,
                tstzmultirange(tstzrange(created_at - interval '9 min', created_at - interval '8 min'),
                               tstzrange(created_at - interval '2 min', created_at - interval '1 min'))
           FROM bulkhead.exports WHERE id = $1",
    )
    .bind(job)
    .execute(&app.pool)
    .await
    .expect("SQL");
    let seen = text(&page_of(&pages(&app).await, job).await.html);
    let wanted = format!("{} files", 30 + files);
    assert!(seen.contains(&wanted) && !seen.contains("attempts failed"), "{wanted}: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cancelled_export_no_file_is_said_to_be_on_its_way() {
    let app = start().await;
    let base = pages(&app).await;
    app.sandbox.fault("file:hold=half@Condition");
    let job = app.export_of(GROUP, &["Condition"]).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    let chip = |page: &Seen, chip: &str| page.html.contains(&format!("<span class=\"chip {chip}\">"));
    assert!(chip(&page_of(&base, job).await, "running"));
    let cancelled = post(&base, &format!("/exports/{job}/cancel"), &[]).await;
    app.sandbox.release();
    let seen = text(&cancelled.html);
    assert!(seen.contains("Not downloaded") && !chip(&cancelled, "running") && !cancelled.html.contains("<progress"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_page_nor_the_manifest_opens_a_file_of_the_server() {
    let sandbox = SandboxConfig { switches: "files=signed".to_owned(), ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let base = pages(&app).await;
    let job = app.export_of(GROUP, &["Patient"]).await;
    app.until(job, "completed").await;
    let url: String = sqlx::query_scalar("SELECT url FROM bulkhead.export_files WHERE export_id = $1 LIMIT 1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("a file");
    let (place, signature) = url.split_once('?').expect("a signed link");
    for path in [format!("/exports/{job}"), format!("/exports/{job}/manifest")] {
        let page = get(&base, &path).await;
        assert!(page.status == 200 && page.html.contains(place), "{}", page.html);
        for piece in signature.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value).filter(|value| value.len() > 7) {
            assert!(!page.html.contains(piece), "{path} shows {piece}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_class_with_what_to_do_and_lead_to_the_exports() {
    let app = start().await;
    let base = pages(&app).await;
    let none = text(&get(&base, "/failures").await.html);
    assert!(!none.contains("What to do"), "{none}");
    let gap = incomplete(&app).await;
    let refused = app.export("NoSuchGroup").await;
    let reason = app.until(refused, "failed").await["failure"]["reason"].as_str().expect("a reason").to_owned();
    for range in ["24h", "7d", "30d"] {
        let page = get(&base, &format!("/failures?range={range}")).await;
        for reason in ["incomplete", reason.as_str()] {
            let link = format!("/exports?state=failed&amp;reason={reason}");
            assert!(page.html.contains(&link), "{range}: {link} is not in {}", page.html);
            let listed = get(&base, &link.replace("&amp;", "&")).await;
            let (mine, other) = if reason == "incomplete" { (gap, refused) } else { (refused, gap) };
            assert!(listed.html.contains(&mine.to_string()) && !listed.html.contains(&other.to_string()), "{reason}");
        }
        // The table of the picture: its foot has a number a class, and their sum.
        let table = page.html.split("id=\"failed-table\"").nth(1).and_then(|rest| rest.split("</details>").next()).expect("the table");
        let foot = text(table.rsplit("<tfoot>").next().expect("its foot"));
        assert_eq!(foot.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).collect::<Vec<_>>(), [1, 1, 2], "{range}");
    }
    let html = client().get(format!("{base}/failures?range=nonsense")).send().await.expect("an answer");
    assert_eq!(html.status(), 200, "a range that is none is the usual one");
}
